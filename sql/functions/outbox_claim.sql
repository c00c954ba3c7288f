-- outbox_claim(limit, until, at) -> events
--
-- Takes events that are due to be delivered, those that wait longest first, and keeps other
-- gateways from them until p_until. Whoever takes one and is never heard of again has lost it
-- by then, and somebody delivers it once more.
--
-- The body is JSON text, so that a client needs to know no type of ours.
--
-- Retries: not the same events again; those that were taken are due after p_until.
-- Locks:   the deliveries; what somebody else has locked is passed over.
CREATE OR REPLACE FUNCTION dialout.outbox_claim(
    p_limit integer, p_until timestamptz, p_at timestamptz
)
RETURNS TABLE (
    event_id uuid, tenant_id uuid, kind text, at timestamptz, data text, attempt integer
)
LANGUAGE sql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    WITH due AS (
        SELECT d.event_id
        FROM delivery AS d
        WHERE d.state <> 'delivered' AND d.next_at <= p_at
        ORDER BY d.next_at, d.event_id
        LIMIT p_limit
        FOR NO KEY UPDATE SKIP LOCKED
    ),
    taken AS (
        UPDATE delivery AS d
        SET
            attempts = d.attempts + 1,
            first_at = coalesce(d.first_at, p_at),
            next_at = p_until
        FROM due
        WHERE d.event_id = due.event_id
        RETURNING d.event_id, d.attempts
    )
    SELECT e.event_id, e.tenant_id, e.kind, e.at, e.data::text, t.attempts
    FROM taken AS t
    INNER JOIN event AS e ON t.event_id = e.event_id
    ORDER BY e.event_id
$$;

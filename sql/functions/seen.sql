-- seen(tenant_id, dial_out_ids, at)
--
-- Notes that calls were seen alive. The latest instant stands; it never goes back, and
-- what is unclaimed, refused or ended is left alone. Where somebody has stayed at the telephone,
-- its number may be called again.
--
-- Retries: safe.
-- Locks:   the dial-outs, in the order of their ids; then the callees, in theirs.
CREATE OR REPLACE FUNCTION dialout.seen(
    p_tenant_id uuid, p_dial_out_ids uuid[], p_at timestamptz
)
RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    WITH alive AS (
        SELECT d.dial_out_id, d.requested_at
        FROM dial_out AS d
        WHERE
            d.tenant_id = p_tenant_id
            AND d.dial_out_id = ANY(p_dial_out_ids)
            AND d.ended_at IS null AND d.expires_at IS NOT null
            AND d.state IN ('released', 'answered')
            AND (d.seen_at < p_at) IS NOT FALSE
        ORDER BY d.dial_out_id
        FOR NO KEY UPDATE
    ),

    noted AS (
        UPDATE dial_out AS d
        SET seen_at = p_at
        FROM alive
        WHERE
            d.tenant_id = p_tenant_id AND d.dial_out_id = alive.dial_out_id
            AND d.requested_at = alive.requested_at
        RETURNING d.destination, d.confirms, d.answered_at, old.seen_at
    )

    SELECT callee_stayed(n.destination, n.answered_at, n.seen_at, p_at)
    FROM noted AS n
    WHERE NOT n.confirms AND n.answered_at IS NOT null
    ORDER BY n.destination
$$;

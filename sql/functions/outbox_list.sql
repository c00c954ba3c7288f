-- outbox_list(tenant_id, states, after, limit) -> events
--
-- The events after a number, in order, with how far each has come; of one tenant and in some
-- states, unless these are null.
--
-- An event gets its number when it is first looked for: transactions end in another order than
-- they began, and a reader who goes on from the last number must miss none. Ten thousand get
-- theirs at a time, more than a page holds; whoever goes on comes to the others.
--
-- Retries: safe.
-- Locks:   the numbering, for which only other readers wait, then the deliveries that are new,
--          in the order of their ids; all until the transaction ends.
CREATE OR REPLACE FUNCTION dialout.outbox_list(
    p_tenant_id uuid, p_states text[], p_after bigint, p_limit integer
)
RETURNS TABLE (
    number bigint,
    event_id uuid,
    tenant_id uuid,
    kind text,
    at timestamptz,
    data text,
    state text,
    attempts integer,
    next_at timestamptz,
    fault text,
    delivered_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('dialout.outbox_list', 0));
    WITH unnumbered AS (
        SELECT d.event_id
        FROM delivery AS d
        WHERE d.number IS null
        ORDER BY d.event_id
        LIMIT 10000
        FOR NO KEY UPDATE
    )
    UPDATE delivery AS d
    SET number = n.number
    FROM (
        SELECT
            u.event_id,
            (SELECT coalesce(max(m.number), 0) FROM delivery AS m)
            + row_number() OVER (ORDER BY u.event_id) AS number
        FROM unnumbered AS u
    ) AS n
    WHERE d.event_id = n.event_id;
    RETURN QUERY
    SELECT
        d.number, e.event_id, e.tenant_id, e.kind, e.at, e.data::text, d.state, d.attempts,
        CASE WHEN d.state <> 'delivered' THEN nullif(d.next_at, '-infinity') END,
        d.fault, d.delivered_at
    FROM delivery AS d
    INNER JOIN event AS e ON d.event_id = e.event_id
    WHERE
        d.number > p_after
        AND (p_tenant_id IS null OR e.tenant_id = p_tenant_id)
        AND (p_states IS null OR d.state = ANY(p_states))
    ORDER BY d.number
    LIMIT p_limit;
END
$$;

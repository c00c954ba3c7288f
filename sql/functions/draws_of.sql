-- draws_of(tenant_id, parts, lots) -> draw[]
--
-- What the parts take from which source: each from its own; those that credits pay, from the
-- lots in their order, which together have enough. A part that costs nothing takes nothing.
--
-- Retries: writes nothing.
-- Locks:   none of its own. The caller holds the lots.
CREATE OR REPLACE FUNCTION dialout.draws_of(
    p_tenant_id uuid, p_parts part_proposal[], p_lots uuid[]
)
RETURNS draw[]
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    WITH paid AS (
        SELECT
            p.part,
            sum(p.micros) OVER (ORDER BY p.part) - p.micros AS begins,
            sum(p.micros) OVER (ORDER BY p.part) AS ends
        FROM unnest(p_parts) AS p
        WHERE p.kind = 'credits'
    ),

    lot AS (
        SELECT
            s.source_id,
            sum(s.free) OVER (ORDER BY asked.place) - s.free AS begins,
            sum(s.free) OVER (ORDER BY asked.place) AS ends
        FROM unnest(p_lots) WITH ORDINALITY AS asked (source_id, place)
        INNER JOIN source AS s ON asked.source_id = s.source_id AND s.tenant_id = p_tenant_id
    ),

    taken AS (
        SELECT p.part, p.source_id, p.seconds AS amount, 0 AS begins
        FROM unnest(p_parts) AS p
        WHERE p.kind <> 'credits'
        UNION ALL
        SELECT
            p.part, l.source_id, least(l.ends, p.ends) - greatest(l.begins, p.begins), l.begins
        FROM paid AS p
        INNER JOIN lot AS l ON p.begins < l.ends AND l.begins < p.ends
        WHERE l.begins < l.ends AND p.begins < p.ends
    )

    SELECT
        coalesce(
            array_agg(ROW(t.part, t.source_id, t.amount)::draw ORDER BY t.part, t.begins), '{}'
        )
    FROM taken AS t
$$;

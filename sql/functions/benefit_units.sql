-- benefit_units(source, sku, basis, at) -> units, next_start
--
-- How many licences bring minutes into a source of a benefit: those that have started by
-- p_at and are valid at any time of the source's own. next_start is when the next one does.
--
-- By the basis `assigned`, organizers are counted and not rows, so that a renewal in
-- mid-month brings nothing twice; what is one organizer's counts that one alone. By
-- `purchased` it is the most that were owned at one instant, for the same reason.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.benefit_units(
    p_source source,
    p_sku text,
    p_basis text,
    p_at timestamptz,
    OUT units bigint,
    OUT next_start timestamptz
)
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    IF p_source.organizer_id IS NOT null THEN
        SELECT
            count(DISTINCT l.organizer_id) FILTER (WHERE l.valid_from <= p_at),
            min(l.valid_from) FILTER (WHERE l.valid_from > p_at)
        INTO units, next_start
        FROM licence AS l
        WHERE
            l.tenant_id = p_source.tenant_id
            AND l.organizer_id = p_source.organizer_id
            AND l.sku = p_sku
            AND l.valid_from < p_source.valid_to
            AND l.valid_to > p_source.valid_from;
    ELSIF p_basis = 'assigned' THEN
        SELECT
            count(DISTINCT l.organizer_id) FILTER (WHERE l.valid_from <= p_at),
            min(l.valid_from) FILTER (WHERE l.valid_from > p_at)
        INTO units, next_start
        FROM licence AS l
        WHERE
            l.tenant_id = p_source.tenant_id
            AND l.sku = p_sku
            AND l.valid_from < p_source.valid_to
            AND l.valid_to > p_source.valid_from;
    ELSE
        SELECT
            coalesce(max(owned.units) FILTER (WHERE owned.at <= p_at), 0),
            min(owned.at) FILTER (WHERE owned.at > p_at)
        INTO units, next_start
        FROM (
            -- What ends and what starts at one instant are peers: their sum is owned then.
            SELECT
                change.at,
                sum(change.units) OVER (ORDER BY change.at) AS units
            FROM purchase AS p
            CROSS JOIN LATERAL (
                VALUES
                (greatest(p.valid_from, p_source.valid_from), p.quantity),
                (p.valid_to, -p.quantity)
            ) AS change (at, units)
            WHERE
                p.tenant_id = p_source.tenant_id
                AND p.sku = p_sku
                AND p.valid_from < p_source.valid_to
                AND p.valid_to > p_source.valid_from
        ) AS owned
        WHERE owned.at < p_source.valid_to;
    END IF;
END
$$;

-- benefit_units(source, sku, basis, at) -> units, next_start
--
-- How many licences bring minutes into a source of a benefit: the most that there were at
-- one instant of the source's own time, up to p_at. next_start is when the next one starts.
--
-- Not all that there ever were: neither a renewal nor another organizer who takes a licence
-- over in mid-month brings minutes twice.
--
-- By the basis `assigned`, organizers are counted and not rows: the periods of old rows may
-- overlap. What is one organizer's counts that one alone. By `purchased`, what was bought is
-- counted, whoever holds it.
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
        RETURN;
    END IF;

    SELECT
        coalesce(max(held.units) FILTER (WHERE held.at <= p_at), 0),
        min(held.at) FILTER (WHERE held.at > p_at AND held.starting)
    INTO units, next_start
    FROM (
        SELECT
            change.at,
            bool_or(change.units > 0) AS starting,
            sum(sum(change.units)) OVER (ORDER BY change.at) AS units
        FROM (
            SELECT
                unnest(range_agg(tstzrange(l.valid_from, l.valid_to))) AS period,
                1 AS quantity
            FROM licence AS l
            WHERE p_basis = 'assigned' AND l.tenant_id = p_source.tenant_id AND l.sku = p_sku
            GROUP BY l.organizer_id
            UNION ALL
            SELECT
                tstzrange(p.valid_from, p.valid_to) AS period,
                p.quantity
            FROM purchase AS p
            WHERE p_basis = 'purchased' AND p.tenant_id = p_source.tenant_id AND p.sku = p_sku
        ) AS holding
        CROSS JOIN LATERAL (
            VALUES
            (greatest(lower(holding.period), p_source.valid_from), holding.quantity),
            (upper(holding.period), -holding.quantity)
        ) AS change (at, units)
        WHERE holding.period && tstzrange(p_source.valid_from, p_source.valid_to)
        GROUP BY change.at
    ) AS held;
END
$$;

-- ledger_check_sources(tenant_id) -> finding, subject, detail
--
-- Checks a tenant's sources against all entries that there ever were: those of the months
-- that were taken out count by what they came to. With every month's own check, the books are
-- proved. The codes are explained in ledger_check_month.
--
-- Retries: writes nothing and locks nothing. One statement, so it sees one instant: a call
-- that goes on meanwhile is in both the totals and the entries, or in neither.
CREATE OR REPLACE FUNCTION dialout.ledger_check_sources(p_tenant_id uuid)
RETURNS TABLE (finding text, subject text, detail text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    WITH sums AS (
        SELECT
            e.source_id,
            sum(e.granted_delta) AS granted,
            sum(e.used_delta) AS used,
            sum(e.reserved_delta) AS reserved,
            coalesce(sum(e.reserved_delta) FILTER (WHERE e.kind = 'reserve'), 0) AS set_aside,
            false AS is_carried
        FROM entry AS e
        WHERE e.tenant_id = p_tenant_id
        GROUP BY e.source_id
        UNION ALL
        SELECT y.source_id, y.granted, y.used, y.reserved, 0, true
        FROM carry AS y
        WHERE y.tenant_id = p_tenant_id
    ),

    totals AS (
        SELECT
            t.source_id,
            sum(t.granted) AS granted,
            sum(t.used) AS used,
            sum(t.reserved) AS reserved,
            sum(t.set_aside) AS set_aside,
            bool_or(t.is_carried) AS is_carried
        FROM sums AS t
        GROUP BY t.source_id
    ),

    sources AS (
        SELECT s.* FROM source AS s
        WHERE s.tenant_id = p_tenant_id
    ),

    lots AS (
        SELECT
            s.source_id,
            s.granted,
            coalesce(sum(g.micros), 0) AS bought
        FROM sources AS s
        LEFT JOIN credit_grant AS g ON s.tenant_id = g.tenant_id AND s.source_id = g.source_id
        WHERE s.kind = 'credits'
        GROUP BY s.source_id, s.granted
    ),

    periods AS (
        SELECT
            s.source_id,
            s.benefit_id,
            s.valid_from,
            lag(s.valid_to) OVER (
                PARTITION BY s.benefit_id, s.organizer_id ORDER BY s.valid_from
            ) AS before_to
        FROM sources AS s
        WHERE s.benefit_id IS NOT null
    )

    SELECT
        'totals_differ',
        s.source_id::text,
        format(
            'granted %s used %s reserved %s, entries say %s %s %s',
            s.granted, s.used, s.reserved, t.granted, t.used, t.reserved
        )
    FROM sources AS s
    LEFT JOIN totals AS t ON s.source_id = t.source_id
    WHERE
        (s.granted, s.used, s.reserved) IS DISTINCT FROM (
            coalesce(t.granted, 0), coalesce(t.used, 0), coalesce(t.reserved, 0)
        )

    UNION ALL
    SELECT
        'overdrawn',
        s.source_id::text,
        format('granted %s used %s reserved %s free %s', s.granted, s.used, s.reserved, s.free)
    FROM sources AS s
    WHERE
        s.used < 0 OR s.reserved < 0 OR s.free < 0
        OR s.granted <> s.used + s.reserved + s.free

    UNION ALL
    SELECT
        'granted_unneeded',
        s.source_id::text,
        format('granted %s, set aside %s', t.granted, t.set_aside)
    FROM sources AS s
    INNER JOIN totals AS t ON s.source_id = t.source_id
    WHERE NOT s.capped AND NOT t.is_carried AND t.granted > t.set_aside

    UNION ALL
    SELECT
        'lots_differ',
        l.source_id::text,
        format('it was granted %s, and %s were bought', l.granted, l.bought)
    FROM lots AS l
    WHERE l.granted <> l.bought

    UNION ALL
    SELECT
        'periods_overlap',
        p.source_id::text,
        format('%s from %s, and the one before it until %s', p.benefit_id, p.valid_from, p.before_to)
    FROM periods AS p
    WHERE p.before_to > p.valid_from

    UNION ALL
    SELECT 'astray', t.source_id::text, 'entries of a source that is not there'
    FROM totals AS t
    LEFT JOIN sources AS s ON t.source_id = s.source_id
    WHERE s.source_id IS null
$$;

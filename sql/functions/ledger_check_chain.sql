-- ledger_check_chain(tenant_id, from, to) -> finding, subject, detail
--
-- Of the month of UTC from p_from until before p_to: that the tenant's entries are counted
-- without a gap, that each digest is of its entry and the one before it, that the last one is
-- the head, and that the first one is joined to an entry of a month before: of the month next
-- to it as a rule, of any other where months came into being in another order. A tenant's
-- first month is joined to the tenant's own id.
--
-- Of a month that was taken out, the carry must count as many entries as the head, and the
-- digests that later months are joined to are in joint.
--
-- Retries: writes nothing; a step of ledger_check_month.
CREATE OR REPLACE FUNCTION dialout.ledger_check_chain(
    p_tenant_id uuid, p_from timestamptz, p_to timestamptz
)
RETURNS TABLE (finding text, subject text, detail text)
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    WITH head AS (
        SELECT c.*
        FROM chain AS c
        WHERE c.tenant_id = p_tenant_id AND c.month = p_from
    ),

    links AS (
        SELECT
            e.number,
            e.digest,
            entry_digest(
                lag(e.digest, 1, (SELECT h.origin FROM head AS h)) OVER (ORDER BY e.number),
                e::entry
            ) AS expected,
            row_number() OVER (ORDER BY e.number) AS place
        FROM entry AS e
        WHERE e.tenant_id = p_tenant_id AND e.filed_at >= p_from AND e.filed_at < p_to
    ),

    faults AS (
        SELECT
            l.number,
            CASE
                WHEN l.place <> l.number THEN 'is not the one after the one before it'
                ELSE 'is not what was written'
            END AS fault
        FROM links AS l
        WHERE l.place <> l.number OR l.digest IS DISTINCT FROM l.expected
        ORDER BY l.number
        LIMIT 1
    ),

    carried AS (
        SELECT coalesce(sum(y.entries), 0) AS entries
        FROM carry AS y
        WHERE y.tenant_id = p_tenant_id AND y.month = p_from
    ),

    last_link AS (
        SELECT l.number, l.digest FROM links AS l
        ORDER BY l.number DESC
        LIMIT 1
    ),

    before AS (
        SELECT c.*
        FROM chain AS c
        WHERE c.tenant_id = p_tenant_id AND c.month < p_from
    )

    SELECT 'chain_broken', to_char(p_from, 'YYYY-MM'), format('entry %s %s', f.number, f.fault)
    FROM faults AS f

    UNION ALL
    SELECT
        'chain_broken',
        to_char(p_from, 'YYYY-MM'),
        format(
            'the head is entry %s, the last one is %s, %s were taken out',
            h.number, l.number, y.entries
        )
    FROM head AS h
    FULL JOIN last_link AS l ON true
    CROSS JOIN carried AS y
    WHERE
        CASE
            WHEN y.entries > 0 THEN l.number IS NOT null OR h.number IS DISTINCT FROM y.entries
            WHEN l.number IS null THEN h.number <> 0 OR h.digest <> h.origin
            ELSE (h.number, h.digest) IS DISTINCT FROM (l.number, l.digest)
        END

    UNION ALL
    SELECT
        'chain_broken',
        to_char(p_from, 'YYYY-MM'),
        'its first entry is joined to none of a month before'
    FROM head AS h
    WHERE
        h.origin <> sha256(convert_to(p_tenant_id::text, 'UTF8'))
        AND NOT EXISTS (SELECT FROM before AS b WHERE b.digest = h.origin)
        AND NOT EXISTS (
            SELECT FROM joint AS j
            WHERE j.tenant_id = p_tenant_id AND j.month < p_from AND j.digest = h.origin
        )
        AND NOT entry_exists(
            p_tenant_id, h.origin, (SELECT max(b.month) FROM before AS b), p_from
        )
        AND NOT entry_exists(p_tenant_id, h.origin, '-infinity', p_from)
$$;

-- ledger_check_sets(tenant_id, from, to) -> finding, subject, detail
--
-- Of the parts that are filed from p_from until before p_to: that each was set aside by its
-- own entries, and that each of those was ended by one other, if the call has ended.
--
-- Nested loops are off: the planner takes a month for a few calls, and one loop within another over
-- ten thousand calls takes minutes where hashes take a second.
--
-- Retries: writes nothing; a step of ledger_check_month.
CREATE OR REPLACE FUNCTION dialout.ledger_check_sets(
    p_tenant_id uuid, p_from timestamptz, p_to timestamptz
)
RETURNS TABLE (finding text, subject text, detail text)
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
SET enable_nestloop TO off
AS $$
    -- What one part draws on one source.
    WITH draws AS (
        SELECT
            e.dial_out_id,
            e.slice,
            e.part,
            e.filed_at,
            e.source_id,
            count(*) FILTER (WHERE e.kind = 'reserve') AS begins,
            count(*) FILTER (WHERE e.kind <> 'reserve') AS ends,
            coalesce(sum(e.reserved_delta) FILTER (WHERE e.kind = 'reserve'), 0) AS reserved,
            sum(e.reserved_delta) AS still_reserved,
            sum(e.used_delta) AS used,
            min(e.kind) FILTER (WHERE e.kind <> 'reserve') AS end_kind
        FROM entry AS e
        WHERE
            e.tenant_id = p_tenant_id AND e.filed_at >= p_from AND e.filed_at < p_to
            AND e.kind <> 'grant'
        GROUP BY e.dial_out_id, e.slice, e.part, e.filed_at, e.source_id
    ),

    sets AS (
        SELECT
            w.dial_out_id,
            w.slice,
            w.part,
            w.filed_at,
            bool_and(w.begins = 1 AND w.ends <= 1) AS are_single,
            bool_and(w.ends = 0 OR w.still_reserved = 0) AS are_whole,
            sum(w.reserved) AS reserved,
            sum(w.used) AS used,
            sum(w.ends) AS ends,
            count(*) AS draws,
            (array_agg(w.source_id))[1] AS source_id,
            min(w.end_kind) AS end_kind,
            max(w.end_kind) AS other_kind
        FROM draws AS w
        GROUP BY w.dial_out_id, w.slice, w.part, w.filed_at
    ),

    parts AS (
        SELECT
            p.dial_out_id,
            p.slice,
            p.part,
            p.kind,
            p.source_id,
            p.seconds,
            p.micros,
            d.state,
            s.draws,
            s.are_single,
            s.are_whole,
            s.source_id AS drawn_on,
            s.reserved,
            s.used,
            s.ends,
            s.end_kind,
            s.other_kind,
            c.dial_out_id IS NOT null AS is_charged,
            CASE p.kind WHEN 'credits' THEN p.micros ELSE p.seconds END AS amount,
            coalesce(CASE p.kind WHEN 'credits' THEN c.micros ELSE c.seconds END, 0) AS billed
        FROM part AS p
        INNER JOIN dial_out AS d
            ON
                p.tenant_id = d.tenant_id
                AND p.dial_out_id = d.dial_out_id
                AND p.filed_at = d.requested_at
        LEFT JOIN sets AS s
            ON
                p.dial_out_id = s.dial_out_id
                AND p.slice = s.slice
                AND p.part = s.part
                AND p.filed_at = s.filed_at
        LEFT JOIN charge AS c
            ON
                p.tenant_id = c.tenant_id
                AND p.dial_out_id = c.dial_out_id
                AND p.slice = c.slice
                AND p.part = c.part
                AND p.filed_at = c.filed_at
        WHERE
            p.tenant_id = p_tenant_id AND p.filed_at >= p_from AND p.filed_at < p_to
            AND d.requested_at >= p_from AND d.requested_at < p_to
    )

    SELECT
        'entries_differ',
        p.dial_out_id::text,
        format(
            'slice %s part %s of %s, billed %s: its entries say %s and %s',
            p.slice, p.part, p.amount, p.billed, coalesce(p.reserved, 0), coalesce(p.used, 0)
        )
    FROM parts AS p
    WHERE
        coalesce(p.reserved, 0) <> p.amount
        OR (p.kind <> 'credits' AND coalesce(p.used, 0) <> p.billed)
        OR NOT p.are_single
        OR NOT p.are_whole
        OR (p.source_id IS NOT null AND (p.draws = 1 AND p.drawn_on = p.source_id) IS NOT true)

    -- Of lots, the one that lapses first is used first, whichever part has drawn on it.
    UNION ALL
    SELECT
        'entries_differ',
        p.dial_out_id::text,
        format('its credits are billed %s, its entries say %s', sum(p.billed), sum(p.used))
    FROM parts AS p
    WHERE p.kind = 'credits'
    GROUP BY p.dial_out_id
    HAVING coalesce(sum(p.used), 0) <> sum(p.billed)

    UNION ALL
    SELECT
        CASE p.state WHEN 'ended' THEN 'not_ended' ELSE 'ended_early' END,
        p.dial_out_id::text,
        format('slice %s part %s of a dial-out that is %s: %s', p.slice, p.part, p.state, p.end_kind)
    FROM parts AS p
    WHERE p.draws > 0 AND p.ends <> CASE p.state WHEN 'ended' THEN p.draws ELSE 0 END

    UNION ALL
    SELECT
        'end_differs',
        p.dial_out_id::text,
        format('ended by %s, and %s of %s parts are charged', min(p.end_kind), count(*) FILTER (
            WHERE p.is_charged
        ), count(*))
    FROM parts AS p
    GROUP BY p.dial_out_id
    HAVING
        least(min(p.end_kind), min(p.other_kind)) <> greatest(max(p.end_kind), max(p.other_kind))
        OR count(*) FILTER (WHERE p.is_charged)
        <> CASE
            -- A call that cost nothing has drawn on nothing, and so has no entries.
            WHEN coalesce(min(p.end_kind), 'settle') = 'settle' AND bool_or(p.is_charged)
                THEN count(*)
            ELSE count(*) FILTER (WHERE p.end_kind = 'settle')
        END

    UNION ALL
    SELECT
        'astray',
        s.dial_out_id::text,
        format('entries of slice %s part %s, which is not there', s.slice, s.part)
    FROM sets AS s
    LEFT JOIN part AS p
        ON
            p.tenant_id = p_tenant_id
            AND s.dial_out_id = p.dial_out_id
            AND s.slice = p.slice
            AND s.part = p.part
            AND s.filed_at = p.filed_at
            AND p.filed_at >= p_from AND p.filed_at < p_to
    WHERE p.dial_out_id IS null
$$;

-- ledger_check(tenant_id) -> finding, subject, detail
--
-- Recomputes one tenant's ledger from its whole history. No row means that it is sound.
--
-- Findings.
--   totals_differ       a source's totals are not the sums of its entries
--   overdrawn           a source has used or set aside less than nothing, or more than it has
--   granted_unneeded    a source that is not capped was granted more than was ever set aside
--   parts_differ        parts of a slice, or slices of a dial-out, do not add up
--   entries_differ      a part was not set aside, or not ended, by exactly its own entries
--   source_not_valid    a part was set aside from a source that was not valid at that instant
--   organizer_differs   an organizer's own source pays for the call of another one
--   charge_differs      a part set aside or billed other money than its rate says
--   billed_differs      billed seconds are not those of the call, or lie out of their part
--   not_ended           an ended dial-out has a reservation without an end
--   ended_early         an open or refused dial-out has a reservation that has ended
--   end_differs         a settlement of a reservation that was given back, or none of one
--                       that was settled
--   unfunded            a dial-out that was not refused has no reservation
--
-- Retries: writes nothing. One statement, so it sees one instant.
CREATE OR REPLACE FUNCTION dialout.ledger_check(p_tenant_id uuid)
RETURNS TABLE (finding text, subject text, detail text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    WITH totals AS (
        SELECT
            e.source_id,
            sum(e.granted_delta) AS granted,
            sum(e.used_delta) AS used,
            sum(e.reserved_delta) AS reserved,
            coalesce(sum(e.reserved_delta) FILTER (WHERE e.kind = 'reserve'), 0) AS set_aside
        FROM entry AS e
        WHERE e.tenant_id = p_tenant_id
        GROUP BY e.source_id
    ),

    slices AS (
        SELECT
            r.dial_out_id,
            r.slice,
            r.seconds,
            r.at,
            d.organizer_id,
            d.state,
            d.talk_seconds,
            d.billable_seconds,
            x.kind AS end_kind
        FROM reservation AS r
        INNER JOIN dial_out AS d USING (tenant_id, dial_out_id)
        LEFT JOIN reservation_end AS x USING (tenant_id, dial_out_id, slice)
        WHERE r.tenant_id = p_tenant_id
    ),

    parts AS (
        SELECT
            p.dial_out_id,
            p.slice,
            p.part,
            p.source_id,
            p.seconds,
            p.micros,
            p.rate,
            b.seconds AS billed_seconds,
            b.micros AS billed_micros,
            l.end_kind,
            l.at,
            s.valid_from,
            s.valid_to,
            l.organizer_id,
            s.organizer_id AS source_organizer_id,
            CASE s.unit WHEN 'seconds' THEN p.seconds ELSE p.micros END AS amount,
            coalesce(CASE s.unit WHEN 'seconds' THEN b.seconds ELSE b.micros END, 0) AS billed
        FROM reservation_part AS p
        INNER JOIN source AS s USING (tenant_id, source_id)
        INNER JOIN slices AS l USING (dial_out_id, slice)
        LEFT JOIN settlement AS b USING (tenant_id, dial_out_id, slice, part)
        WHERE p.tenant_id = p_tenant_id
    )

    SELECT
        'totals_differ',
        s.source_id::text,
        format(
            'granted %s used %s reserved %s, entries say %s %s %s',
            s.granted, s.used, s.reserved, t.granted, t.used, t.reserved
        )
    FROM source AS s
    LEFT JOIN totals AS t USING (source_id)
    WHERE
        s.tenant_id = p_tenant_id
        AND (s.granted, s.used, s.reserved) IS DISTINCT FROM (
            coalesce(t.granted, 0), coalesce(t.used, 0), coalesce(t.reserved, 0)
        )

    UNION ALL
    SELECT
        'overdrawn',
        s.source_id::text,
        format(
            'granted %s used %s reserved %s free %s', s.granted, s.used, s.reserved, s.free
        )
    FROM source AS s
    WHERE
        s.tenant_id = p_tenant_id
        AND (
            s.used < 0 OR s.reserved < 0 OR s.free < 0
            OR s.granted <> s.used + s.reserved + s.free
        )

    UNION ALL
    SELECT
        'granted_unneeded',
        s.source_id::text,
        format('granted %s, set aside %s', t.granted, t.set_aside)
    FROM source AS s
    INNER JOIN totals AS t USING (source_id)
    WHERE s.tenant_id = p_tenant_id AND NOT s.capped AND t.granted > t.set_aside

    UNION ALL
    SELECT
        'parts_differ',
        l.dial_out_id::text,
        format('slice %s is %s s, its parts are %s s', l.slice, l.seconds, sum(p.seconds))
    FROM slices AS l
    LEFT JOIN parts AS p USING (dial_out_id, slice)
    GROUP BY l.dial_out_id, l.slice, l.seconds
    HAVING l.seconds IS DISTINCT FROM sum(p.seconds)

    UNION ALL
    SELECT
        'parts_differ',
        l.dial_out_id::text,
        format('the call may last %s s, its slices are %s s', l.talk_seconds, sum(l.seconds))
    FROM slices AS l
    GROUP BY l.dial_out_id, l.talk_seconds
    HAVING l.talk_seconds IS DISTINCT FROM sum(l.seconds)

    UNION ALL
    SELECT
        'entries_differ',
        p.dial_out_id::text,
        format('slice %s part %s of %s, billed %s', p.slice, p.part, p.amount, p.billed)
    FROM parts AS p
    LEFT JOIN entry AS e
        ON
            e.tenant_id = p_tenant_id
            AND p.dial_out_id = e.dial_out_id
            AND p.slice = e.slice
            AND p.part = e.part
    GROUP BY
        p.dial_out_id, p.slice, p.part, p.source_id, p.amount, p.billed, p.end_kind
    HAVING
        array_agg(
            (e.kind, e.source_id, e.used_delta, e.reserved_delta) ORDER BY e.kind <> 'reserve'
        )
        IS DISTINCT FROM CASE
            WHEN p.end_kind IS null
                THEN ARRAY[('reserve'::text, p.source_id, 0::bigint, p.amount)]
            ELSE ARRAY[
                ('reserve'::text, p.source_id, 0::bigint, p.amount),
                (p.end_kind, p.source_id, p.billed, -p.amount)
            ]
        END

    UNION ALL
    SELECT
        'source_not_valid',
        p.dial_out_id::text,
        format(
            'slice %s part %s at %s, its source is valid %s to %s',
            p.slice, p.part, p.at, p.valid_from, p.valid_to
        )
    FROM parts AS p
    WHERE (p.valid_from <= p.at AND p.at < p.valid_to) IS NOT TRUE

    UNION ALL
    SELECT
        'organizer_differs',
        p.dial_out_id::text,
        format(
            'slice %s part %s of %s, paid by %s',
            p.slice, p.part, p.organizer_id, p.source_organizer_id
        )
    FROM parts AS p
    WHERE p.source_organizer_id <> p.organizer_id

    UNION ALL
    SELECT
        'charge_differs',
        p.dial_out_id::text,
        format('slice %s part %s: %s micros, billed %s', p.slice, p.part, p.micros, p.billed_micros)
    FROM parts AS p
    WHERE
        p.micros <> charge_micros(p.seconds, p.rate)
        OR p.billed_micros <> charge_micros(p.billed_seconds, p.rate)

    UNION ALL
    SELECT
        'billed_differs',
        l.dial_out_id::text,
        format('the call bills %s s, its parts %s s', l.billable_seconds, sum(p.billed_seconds))
    FROM slices AS l
    LEFT JOIN parts AS p USING (dial_out_id, slice)
    WHERE l.state = 'ended'
    GROUP BY l.dial_out_id, l.billable_seconds
    HAVING
        l.billable_seconds IS DISTINCT FROM coalesce(sum(p.billed_seconds), 0)
        OR bool_or(p.billed_seconds > p.seconds)

    UNION ALL
    SELECT
        CASE l.state WHEN 'ended' THEN 'not_ended' ELSE 'ended_early' END,
        l.dial_out_id::text,
        format('slice %s of a dial-out that is %s: %s', l.slice, l.state, l.end_kind)
    FROM slices AS l
    WHERE (l.state = 'ended') <> (l.end_kind IS NOT null)

    UNION ALL
    SELECT
        'end_differs',
        p.dial_out_id::text,
        format(
            'slice %s part %s: end %s, billed %s s', p.slice, p.part, p.end_kind, p.billed_seconds
        )
    FROM parts AS p
    WHERE (p.end_kind IS NOT DISTINCT FROM 'settle') <> (p.billed_seconds IS NOT null)

    UNION ALL
    SELECT 'unfunded', d.dial_out_id::text, format('it is %s', d.state)
    FROM dial_out AS d
    LEFT JOIN slices AS l USING (dial_out_id)
    WHERE
        d.tenant_id = p_tenant_id
        AND (d.state = 'refused') <> (l.dial_out_id IS null)
$$;

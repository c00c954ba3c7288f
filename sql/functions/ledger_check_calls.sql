-- ledger_check_calls(tenant_id, from, to) -> finding, subject, detail
--
-- Of the dial-outs that are filed from p_from until before p_to: that each has parts if it
-- should, that they are in order, and that their sources are the ones that may pay.
--
-- A lot pays if it had not lapsed when it was drawn on. A part whose stretch begins nowhere
-- begins when the call was asked for, or any time until as much later as the telephone rings
-- and the call lasts: a slice may be set aside after its first second has begun.
--
-- Nested loops are off: the planner takes a month for a few calls, and one loop within another over
-- ten thousand calls takes minutes where hashes take a second.
--
-- Retries: writes nothing; a step of ledger_check_month.
CREATE OR REPLACE FUNCTION dialout.ledger_check_calls(
    p_tenant_id uuid, p_from timestamptz, p_to timestamptz
)
RETURNS TABLE (finding text, subject text, detail text)
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
SET enable_nestloop TO off
AS $$
    WITH calls AS (
        SELECT d.*
        FROM dial_out AS d
        WHERE d.tenant_id = p_tenant_id AND d.requested_at >= p_from AND d.requested_at < p_to
    ),

    parts AS (
        SELECT p.*
        FROM part AS p
        WHERE p.tenant_id = p_tenant_id AND p.filed_at >= p_from AND p.filed_at < p_to
    ),

    slices AS (
        SELECT
            p.dial_out_id,
            p.slice,
            p.filed_at,
            sum(p.seconds) AS seconds,
            max(p.part) = count(*) AS are_counted
        FROM parts AS p
        GROUP BY p.dial_out_id, p.slice, p.filed_at
    ),

    -- What each part draws on: the source of its benefit, or lots.
    payers AS (
        SELECT p.dial_out_id, p.slice, p.part, p.filed_at, p.source_id
        FROM parts AS p
        WHERE p.source_id IS NOT null
        UNION ALL
        SELECT e.dial_out_id, e.slice, e.part, e.filed_at, e.source_id
        FROM entry AS e
        INNER JOIN parts AS p USING (dial_out_id, slice, part, filed_at)
        WHERE
            e.tenant_id = p_tenant_id AND e.filed_at >= p_from AND e.filed_at < p_to
            AND e.kind = 'reserve' AND p.source_id IS null
    ),

    paid AS (
        SELECT
            p.*,
            d.organizer_id,
            s.source_id AS payer_id,
            s.valid_from,
            s.valid_to,
            (s.kind, coalesce(s.benefit_id, ''), coalesce(s.organizer_id, d.organizer_id))
            = (p.kind, coalesce(p.benefit_id, ''), d.organizer_id) AS may_pay,
            CASE p.kind
                WHEN 'credits' THEN p.at ELSE greatest(p.from_at, d.requested_at)
            END AS earliest,
            CASE
                WHEN p.kind = 'credits' OR (p.slice = 1 AND p.from_at = '-infinity') THEN p.at
                ELSE greatest(
                    p.from_at,
                    least(
                        p.at + make_interval(
                            secs => d.talk_seconds_max + coalesce(d.ring_seconds, 0)
                        ),
                        p.to_at
                    )
                )
            END AS latest
        FROM payers AS y
        INNER JOIN parts AS p USING (dial_out_id, slice, part, filed_at)
        INNER JOIN calls AS d ON p.dial_out_id = d.dial_out_id AND p.filed_at = d.requested_at
        INNER JOIN source AS s ON s.tenant_id = p_tenant_id AND y.source_id = s.source_id
    )

    SELECT 'unfunded', d.dial_out_id::text, format('it is %s', d.state)
    FROM calls AS d
    LEFT JOIN slices AS l ON d.dial_out_id = l.dial_out_id AND d.requested_at = l.filed_at
    WHERE (d.state = 'refused' OR d.talk_seconds = 0) <> (l.dial_out_id IS null)

    UNION ALL
    SELECT
        'parts_differ',
        d.dial_out_id::text,
        format(
            'it is paid for %s s in %s slices, and has %s of %s s in all',
            d.talk_seconds, d.slices, count(*), sum(l.seconds)
        )
    FROM calls AS d
    INNER JOIN slices AS l ON d.dial_out_id = l.dial_out_id AND d.requested_at = l.filed_at
    GROUP BY d.dial_out_id, d.talk_seconds, d.slices
    HAVING
        (
            d.slices = count(*) AND d.slices = max(l.slice) AND bool_and(l.are_counted)
            AND d.talk_seconds <= sum(l.seconds)
        ) IS NOT true

    UNION ALL
    SELECT
        'source_not_valid',
        p.dial_out_id::text,
        format(
            'slice %s part %s pays from %s to %s, source %s from %s to %s',
            p.slice, p.part, p.earliest, p.latest, p.payer_id, p.valid_from, p.valid_to
        )
    FROM paid AS p
    WHERE (p.valid_from <= p.latest AND p.earliest < p.valid_to) IS NOT true

    UNION ALL
    SELECT
        'source_differs',
        p.dial_out_id::text,
        format('slice %s part %s, %s: source %s', p.slice, p.part, p.kind, p.payer_id)
    FROM paid AS p
    WHERE p.may_pay IS NOT true

    UNION ALL
    SELECT 'astray', l.dial_out_id::text, format('slice %s of no dial-out', l.slice)
    FROM slices AS l
    LEFT JOIN calls AS d ON l.dial_out_id = d.dial_out_id AND l.filed_at = d.requested_at
    WHERE d.dial_out_id IS null

    UNION ALL
    SELECT 'doubled', d.dial_out_id::text, format('at %s and at %s', o.requested_at, d.requested_at)
    FROM calls AS d
    INNER JOIN dial_out AS o ON d.dial_out_id = o.dial_out_id
    WHERE
        o.tenant_id = p_tenant_id
        AND o.requested_at >= date_subtract(p_from, interval '1 month', 'UTC')
        AND o.requested_at < d.requested_at
$$;

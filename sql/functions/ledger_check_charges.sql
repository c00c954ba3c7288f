-- ledger_check_charges(tenant_id, from, to) -> finding, subject, detail
--
-- Of the calls that are filed from p_from until before p_to: that what was set aside is what
-- they could cost, that they were billed to the second, each second to the part that pays at
-- the instant at which it begins, and that the money is what all seconds together cost at the
-- rates of their parts. All of it is reckoned anew, by the functions that reckoned it before.
--
-- Nested loops are off: the planner takes a month for a few calls, and one loop within another over
-- ten thousand calls takes minutes where hashes take a second.
--
-- Retries: writes nothing; a step of ledger_check_month.
CREATE OR REPLACE FUNCTION dialout.ledger_check_charges(
    p_tenant_id uuid, p_from timestamptz, p_to timestamptz
)
RETURNS TABLE (finding text, subject text, detail text)
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
SET enable_nestloop TO off
AS $$
    WITH parts AS (
        SELECT
            p::part AS part,
            p.dial_out_id,
            p.filed_at,
            p.slice,
            p.micros,
            p.rate,
            c.seconds AS billed_seconds,
            c.micros AS billed_micros,
            greatest(
                0,
                cost_bound(array_agg(p.seconds) OVER up_to, array_agg(p.rate) OVER up_to)
                - (sum(p.micros) OVER up_to - p.micros)
            ) AS bound
        FROM part AS p
        LEFT JOIN charge AS c
            ON
                p.tenant_id = c.tenant_id
                AND p.dial_out_id = c.dial_out_id
                AND p.slice = c.slice
                AND p.part = c.part
                AND p.filed_at = c.filed_at
                AND c.filed_at >= p_from AND c.filed_at < p_to
        WHERE p.tenant_id = p_tenant_id AND p.filed_at >= p_from AND p.filed_at < p_to
        WINDOW up_to AS (
            PARTITION BY p.dial_out_id, p.filed_at, p.kind = 'credits'
            ORDER BY p.slice, p.part
        )
    ),

    calls AS (
        SELECT
            p.dial_out_id,
            p.filed_at,
            array_agg(
                p.part ORDER BY (p.part).begins_at, p.slice, (p.part).part
            ) AS parts,
            array_agg(
                p.rate ORDER BY (p.part).begins_at, p.slice, (p.part).part
            ) AS rates,
            array_agg(
                p.billed_seconds ORDER BY (p.part).begins_at, p.slice, (p.part).part
            ) AS seconds,
            array_agg(
                p.billed_micros ORDER BY (p.part).begins_at, p.slice, (p.part).part
            ) AS micros,
            bool_or(p.billed_seconds IS NOT null) AS is_billed
        FROM parts AS p
        GROUP BY p.dial_out_id, p.filed_at
    ),

    bills AS (
        SELECT
            d.dial_out_id,
            d.billable_seconds,
            c.micros,
            c.seconds,
            cost_parts(c.seconds, c.rates) AS costs,
            parts_walk(
                c.parts,
                d.answered_at,
                least(
                    greatest(1, ceil(extract(EPOCH FROM d.ended_at - d.answered_at))),
                    d.talk_seconds
                )::integer
            ) AS walk
        FROM calls AS c
        INNER JOIN dial_out AS d ON c.dial_out_id = d.dial_out_id AND c.filed_at = d.requested_at
        WHERE
            d.tenant_id = p_tenant_id AND d.requested_at >= p_from AND d.requested_at < p_to
            AND c.is_billed
    )

    SELECT
        'charge_differs',
        p.dial_out_id::text,
        format(
            'slice %s part %s sets aside %s micros, and could cost %s',
            p.slice, (p.part).part, p.micros, p.bound
        )
    FROM parts AS p
    WHERE p.micros <> CASE (p.part).kind WHEN 'credits' THEN p.bound ELSE 0 END

    UNION ALL
    SELECT
        'charge_differs',
        b.dial_out_id::text,
        format('its parts are billed %s micros, and cost %s', b.micros, b.costs)
    FROM bills AS b
    WHERE b.micros IS DISTINCT FROM b.costs

    UNION ALL
    SELECT
        'billed_differs',
        b.dial_out_id::text,
        format('its parts are billed %s s, and pay for %s', b.seconds, b.walk)
    FROM bills AS b
    WHERE b.seconds IS DISTINCT FROM b.walk

    UNION ALL
    SELECT
        'billed_differs',
        d.dial_out_id::text,
        format('the call bills %s s, its parts %s s', d.billable_seconds, sum(c.seconds))
    FROM dial_out AS d
    LEFT JOIN charge AS c
        ON
            d.tenant_id = c.tenant_id
            AND d.dial_out_id = c.dial_out_id
            AND d.requested_at = c.filed_at
            AND c.filed_at >= p_from AND c.filed_at < p_to
    WHERE
        d.tenant_id = p_tenant_id AND d.requested_at >= p_from AND d.requested_at < p_to
        AND d.state = 'ended'
    GROUP BY d.dial_out_id, d.requested_at, d.billable_seconds
    HAVING d.billable_seconds IS DISTINCT FROM coalesce(sum(c.seconds), 0)

    UNION ALL
    SELECT
        'astray',
        c.dial_out_id::text,
        format('charge of slice %s part %s, which is not there', c.slice, c.part)
    FROM charge AS c
    LEFT JOIN part AS p
        ON
            c.tenant_id = p.tenant_id
            AND c.dial_out_id = p.dial_out_id
            AND c.slice = p.slice
            AND c.part = p.part
            AND c.filed_at = p.filed_at
            AND p.filed_at >= p_from AND p.filed_at < p_to
    WHERE
        c.tenant_id = p_tenant_id AND c.filed_at >= p_from AND c.filed_at < p_to
        AND p.dial_out_id IS null
$$;

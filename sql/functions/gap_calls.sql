-- gap_calls(outage_id, tenant_id, after_requested_at, after_tenant_id, after_dial_out_id, limit)
--     -> calls
--
-- The calls that span an outage, of one tenant or of all if it is null, in the order of their
-- requests; after the one that is named, if one is. What each was billed, and where nothing
-- proves its end, what the other bound would have billed: no more than was set aside for it.
-- Of a call that nobody is known to have answered, that is as if it had been at its release.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.gap_calls(
    p_outage_id uuid,
    p_tenant_id uuid,
    p_after_requested_at timestamptz,
    p_after_tenant_id uuid,
    p_after_dial_out_id uuid,
    p_limit integer
)
RETURNS TABLE (
    tenant_id uuid,
    dial_out_id uuid,
    requested_at timestamptz,
    kind text,
    destination text,
    state text,
    answered_at timestamptz,
    ended_at timestamptz,
    evidence text,
    least_seconds integer,
    most_seconds integer,
    unproved text,
    billed_seconds integer,
    billed_micros bigint,
    otherwise_seconds integer,
    otherwise_micros bigint,
    currency text
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        d.tenant_id, d.dial_out_id, d.requested_at, d.kind, d.destination, d.state,
        d.answered_at, d.ended_at, d.evidence, d.least_seconds, d.most_seconds, d.unproved,
        d.billable_seconds, billed.micros, other.seconds, other.micros, t.currency
    FROM outage_call AS c
    INNER JOIN dial_out AS d
        ON
            c.tenant_id = d.tenant_id AND c.dial_out_id = d.dial_out_id
            AND c.requested_at = d.requested_at
    INNER JOIN tenant AS t ON d.tenant_id = t.tenant_id
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(b.micros), 0)::bigint AS micros
        FROM charge AS b
        WHERE
            b.tenant_id = d.tenant_id AND b.dial_out_id = d.dial_out_id
            AND b.filed_at = d.requested_at
    ) AS billed ON d.state = 'ended'
    LEFT JOIN LATERAL (
        SELECT
            (SELECT sum(s) FROM unnest(w.seconds) AS s)::integer AS seconds,
            cost_micros(
                w.seconds,
                ARRAY(SELECT p.rate FROM unnest(w.parts) AS p ORDER BY p.begins_at, p.slice, p.part)
            ) AS micros
        FROM (
            SELECT
                p.parts,
                parts_walk(
                    p.parts,
                    coalesce(d.answered_at, d.released_at),
                    CASE d.unproved WHEN 'least' THEN d.most_seconds ELSE d.least_seconds END
                ) AS seconds
            FROM (SELECT parts_of(d.tenant_id, d.dial_out_id, d.requested_at) AS parts) AS p
        ) AS w
    ) AS other ON d.unproved IS NOT null
    WHERE
        c.outage_id = p_outage_id
        AND (p_tenant_id IS null OR c.tenant_id = p_tenant_id)
        AND (
            p_after_requested_at IS null
            OR (c.requested_at, c.tenant_id, c.dial_out_id)
            > (p_after_requested_at, p_after_tenant_id, p_after_dial_out_id)
        )
    ORDER BY c.requested_at, c.tenant_id, c.dial_out_id
    LIMIT p_limit
$$;

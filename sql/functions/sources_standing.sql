-- sources_standing(tenant_id, kinds, benefits, asked, parts, at) -> json
--
-- What each source that was asked has, in the order of asking, and what it gives to the
-- call, or would have given had it been enough: nothing, if it has no part. Credits are shown
-- as one, all lots together. Read before the parts are set aside, so that an answer can be
-- explained by what there was when it was given.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.sources_standing(
    p_tenant_id uuid,
    p_kinds text[],
    p_benefits text[],
    p_asked uuid[],
    p_parts part_proposal[],
    p_at timestamptz
)
RETURNS json
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        coalesce(
            json_agg(
                json_build_object(
                    'kind', asked.kind,
                    'benefit_id', asked.benefit_id,
                    'unit', s.unit,
                    'currency', s.currency,
                    'capped', s.capped,
                    'granted', s.granted,
                    'used', s.used,
                    'reserved', s.reserved,
                    'free', s.granted - s.used - s.reserved,
                    'seconds', p.seconds,
                    'micros', p.micros
                ) ORDER BY asked.place
            ),
            '[]'
        )
    FROM unnest(p_kinds, p_benefits, p_asked)
        WITH ORDINALITY AS asked (kind, benefit_id, source_id, place)
    CROSS JOIN LATERAL (
        SELECT
            min(s.unit) AS unit,
            min(s.currency) AS currency,
            bool_and(s.capped) AS capped,
            sum(s.granted)::bigint AS granted,
            sum(s.used)::bigint AS used,
            sum(s.reserved)::bigint AS reserved
        FROM source AS s
        WHERE
            s.tenant_id = p_tenant_id
            AND (
                s.source_id = asked.source_id
                OR (
                    asked.kind = 'credits' AND s.kind = 'credits'
                    AND s.valid_from <= p_at AND p_at < s.valid_to
                )
            )
        HAVING count(*) > 0
    ) AS s
    CROSS JOIN LATERAL (
        SELECT
            coalesce(sum(p.seconds), 0) AS seconds,
            coalesce(sum(p.micros), 0) AS micros
        FROM unnest(p_parts) AS p
        WHERE
            p.kind = asked.kind AND p.benefit_id IS NOT DISTINCT FROM asked.benefit_id
    ) AS p
$$;

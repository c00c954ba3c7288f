-- sources_standing(tenant_id, source_ids, parts) -> json
--
-- What each source that was asked has, in the order of asking, and what it gives to the
-- call, or would have given had it been enough: nothing, if it has no part. Read before the
-- parts are set aside, so that an answer can be explained by what there was when it was given.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.sources_standing(
    p_tenant_id uuid, p_source_ids uuid[], p_parts part_proposal[]
)
RETURNS json
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        coalesce(
            json_agg(
                json_build_object(
                    'kind', s.kind,
                    'benefit_id', s.benefit_id,
                    'unit', s.unit,
                    'currency', s.currency,
                    'capped', s.capped,
                    'granted', s.granted,
                    'used', s.used,
                    'reserved', s.reserved,
                    'free', s.free,
                    'seconds', coalesce(p.seconds, 0),
                    'micros', coalesce(p.micros, 0)
                ) ORDER BY asked.place
            ),
            '[]'
        )
    FROM unnest(p_source_ids) WITH ORDINALITY AS asked (source_id, place)
    INNER JOIN source AS s ON asked.source_id = s.source_id AND s.tenant_id = p_tenant_id
    LEFT JOIN unnest(p_parts) AS p ON s.source_id = p.source_id
$$;

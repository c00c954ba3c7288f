-- seconds_free(tenant_id, source_id, seconds_max, parts) -> seconds
--
-- What a source that is counted in seconds can give, up to seconds_max, beside the parts that
-- it gives already; nothing, if there is no such source. One that is not capped gives whatever
-- is asked of it.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.seconds_free(
    p_tenant_id uuid, p_source_id uuid, p_seconds_max integer, p_parts part_proposal[]
)
RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_free bigint;
    v_given bigint;
BEGIN
    SELECT CASE WHEN s.capped THEN s.free ELSE p_seconds_max END INTO v_free
    FROM source AS s
    WHERE s.tenant_id = p_tenant_id AND s.source_id = p_source_id;
    SELECT coalesce(sum(p.seconds), 0) INTO v_given
    FROM unnest(p_parts) AS p
    INNER JOIN source AS s ON p.source_id = s.source_id AND s.tenant_id = p_tenant_id
    WHERE p.source_id = p_source_id AND s.capped;
    RETURN greatest(0, least(coalesce(v_free, 0) - v_given, p_seconds_max));
END
$$;

-- source_short(tenant_id, organizer_id, reason, at)
--
-- Tells of the source for want of which a call was refused. What is left of it may be too
-- little for any call, and so would never be used up.
--
-- Retries: safe.
CREATE OR REPLACE FUNCTION dialout.source_short(
    p_tenant_id uuid, p_organizer_id text, p_reason text, p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    IF p_reason = 'credits_exhausted' THEN
        PERFORM credits_zero(p_tenant_id, p_at);
    ELSIF p_reason IN ('pool_exhausted', 'addon_exhausted') THEN
        PERFORM allowance_used(s, 100, p_at)
        FROM source AS s
        WHERE
            s.tenant_id = p_tenant_id
            AND s.kind = split_part(p_reason, '_', 1)
            AND s.granted > 0
            AND s.valid_from <= p_at AND p_at < s.valid_to
            AND (s.organizer_id IS null OR s.organizer_id = p_organizer_id);
    END IF;
END
$$;

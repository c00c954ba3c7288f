-- allowance_used(source, percent, at)
--
-- Tells that so much of a pool, or of an add-on's fair use, is used up: once a period.
--
-- Retries: safe.
CREATE OR REPLACE FUNCTION dialout.allowance_used(
    p_source source, p_percent integer, p_at timestamptz
)
RETURNS void
LANGUAGE sql
SET search_path TO dialout, pg_temp
AS $$
    SELECT event_append(
        p_source.tenant_id,
        CASE p_source.kind WHEN 'pool' THEN 'pool.used_' ELSE 'addon.fair_use_' END || p_percent,
        p_source.source_id,
        jsonb_build_object(
            'source_id', p_source.source_id,
            'benefit_id', p_source.benefit_id,
            'organizer_id', p_source.organizer_id,
            'granted_seconds', p_source.granted,
            'used_seconds', p_source.used,
            'reserved_seconds', p_source.reserved,
            'starts_at', p_source.valid_from,
            'ends_at', p_source.valid_to
        ),
        p_at
    )
$$;

-- licence_needed(licence, to) -> needed
--
-- Whether an add-on of the same organizer would lose its prerequisite at any instant, if the
-- licence ended at p_to already. It does not where another licence goes on, of either kind
-- of Audio Conferencing.
--
-- Retries: writes nothing.
-- Locks:   none; the caller holds the tenant's row, so licences stand still.
CREATE OR REPLACE FUNCTION dialout.licence_needed(p_licence licence, p_to timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        p_licence.sku IN ('audio_conferencing', 'audio_conferencing_ppm')
        AND EXISTS (
            SELECT FROM licence AS addon
            WHERE
                addon.tenant_id = p_licence.tenant_id
                AND addon.organizer_id = p_licence.organizer_id
                AND addon.sku = 'extended_dialout_us_ca'
                AND tstzrange(addon.valid_from, addon.valid_to)
                    && (tstzmultirange(tstzrange(p_to, p_licence.valid_to)) - others.periods)
        )
    FROM (
        SELECT coalesce(range_agg(tstzrange(l.valid_from, l.valid_to)), '{}') AS periods
        FROM licence AS l
        WHERE
            l.tenant_id = p_licence.tenant_id
            AND l.organizer_id = p_licence.organizer_id
            AND l.sku IN ('audio_conferencing', 'audio_conferencing_ppm')
            AND (l.sku, l.valid_from) <> (p_licence.sku, p_licence.valid_from)
    ) AS others
$$;

-- licence_refusal(tenant_id, organizer_id, sku, from, to, forced) -> refusal
--
-- Why an organizer may not hold a licence from p_from until p_to; null if nothing speaks
-- against it. Another row that starts at p_from is this licence itself.
--
-- Refusals. The first that applies is returned; the last two not if it is forced.
--   overlaps              the organizer has this SKU for a part of the time already
--   not_sold              not in the organizer's country, says the edition of the
--                         availability that the tenant has chosen; nor in any country that
--                         the edition does not know
--   prerequisite_missing  the add-on, and not a licence for Audio Conferencing, of either
--                         kind, at every instant
--
-- Retries: writes nothing.
-- Locks:   the organizer's row, unless it is forced: whoever moves the organizer meanwhile
--          waits, and finds the licence. The caller holds the tenant's row, so licences stand
--          still.
-- Raises:  P0002 if there is no such organizer. That is a bug in the caller.
CREATE OR REPLACE FUNCTION dialout.licence_refusal(
    p_tenant_id uuid,
    p_organizer_id text,
    p_sku text,
    p_from timestamptz,
    p_to timestamptz,
    p_forced boolean
)
RETURNS text
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_region text;
BEGIN
    IF EXISTS (
        SELECT FROM licence AS l
        WHERE
            l.tenant_id = p_tenant_id AND l.organizer_id = p_organizer_id AND l.sku = p_sku
            AND l.valid_from <> p_from
            AND l.valid_from < p_to AND p_from < l.valid_to
    ) THEN
        RETURN 'overlaps';
    END IF;
    IF p_forced THEN
        RETURN null;
    END IF;
    SELECT o.region INTO STRICT v_region
    FROM organizer AS o
    WHERE o.tenant_id = p_tenant_id AND o.organizer_id = p_organizer_id
    FOR SHARE;
    IF NOT sku_sold(p_tenant_id, p_sku, v_region) THEN
        RETURN 'not_sold';
    END IF;
    IF p_sku = 'extended_dialout_us_ca' AND (
        SELECT range_agg(tstzrange(l.valid_from, l.valid_to)) @> tstzrange(p_from, p_to)
        FROM licence AS l
        WHERE
            l.tenant_id = p_tenant_id AND l.organizer_id = p_organizer_id
            AND l.sku IN ('audio_conferencing', 'audio_conferencing_ppm')
    ) IS NOT true THEN
        RETURN 'prerequisite_missing';
    END IF;
    RETURN null;
END
$$;

-- sku_sold(tenant_id, sku, region) -> sold
--
-- Whether a licence is sold in a country, by the edition of the availability that the tenant
-- has chosen. In a country that the edition does not know, none is.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.sku_sold(p_tenant_id uuid, p_sku text, p_region text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM tenant_policy AS c
        INNER JOIN availability AS a ON c.availability_version = a.version
        WHERE
            c.tenant_id = p_tenant_id
            AND a.region = p_region
            AND CASE p_sku
                WHEN 'audio_conferencing' THEN a.audio_conferencing_sold = 'yes'
                WHEN 'communications_credits' THEN a.credits_sold = 'yes'
                ELSE a.audio_conferencing_sold IN ('yes', 'ppm_only')
            END
    )
$$;

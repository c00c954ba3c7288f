-- reference_load(countries, zone members)
--
-- Makes the countries and the zones what the shipped files say. Only the migration may: the
-- same for all tenants, and every stored decision holds the facts that it rested on.
--
-- Retries: safe.
-- Locks:   both tables against another load; readers go on.
CREATE OR REPLACE FUNCTION dialout.reference_load(
    p_regions text[],
    p_names text[],
    p_audio_conferencing_sold text[],
    p_credits_sold text[],
    p_member_zones text[],
    p_member_regions text[],
    p_members_from timestamptz[],
    p_members_to timestamptz[]
)
RETURNS void
LANGUAGE sql
SET search_path TO dialout, pg_temp
AS $$
    DELETE FROM zone_member;

    INSERT INTO country AS c (region, name, audio_conferencing_sold, credits_sold)
    SELECT * FROM unnest(p_regions, p_names, p_audio_conferencing_sold, p_credits_sold)
    ON CONFLICT (region) DO UPDATE
    SET
        name = excluded.name,
        audio_conferencing_sold = excluded.audio_conferencing_sold,
        credits_sold = excluded.credits_sold;

    INSERT INTO zone_member (zone, region, valid_from, valid_to)
    SELECT m.zone, m.region, coalesce(m.since, '-infinity'), coalesce(m.until, 'infinity')
    FROM unnest(p_member_zones, p_member_regions, p_members_from, p_members_to)
        AS m (zone, region, since, until);
$$;

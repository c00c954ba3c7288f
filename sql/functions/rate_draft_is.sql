-- rate_draft_is(version, time_zone) -> whether
--
-- Whether what this transaction has drafted is, in that time zone, exactly what a version
-- holds; not if there is no version.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.rate_draft_is(p_version rate_version, p_time_zone text)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        coalesce(p_version.time_zone = p_time_zone, false)
        AND p_version.rates = (
            SELECT count(*) FROM rate_draft AS r WHERE r.drafted_in = pg_current_xact_id()
        )
        AND NOT EXISTS (
            SELECT
                r.prefix, r.minutes, r.name, r.price_micros, r.connect_fee_micros,
                r.initial_increment_seconds, r.increment_seconds, r.regions
            FROM rate_draft AS r
            WHERE r.drafted_in = pg_current_xact_id()
            EXCEPT
            SELECT
                r.prefix, r.minutes, r.name, r.price_micros, r.connect_fee_micros,
                r.initial_increment_seconds, r.increment_seconds, r.regions
            FROM rate AS r
            WHERE r.version_id = p_version.version_id
        )
$$;

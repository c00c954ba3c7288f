-- week_minute(at, time_zone) -> minute
--
-- The minute of the week, from 0 at Monday midnight to 10079, that a clock of the time zone
-- shows at an instant. An hour that clocks show twice is the same minutes twice, and one that
-- they leave out is none.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.week_minute(p_at timestamptz, p_time_zone text)
RETURNS integer
LANGUAGE sql STABLE
AS $$
    SELECT (
        (extract(ISODOW FROM clock.shows) - 1) * 1440
        + extract(HOUR FROM clock.shows) * 60
        + extract(MINUTE FROM clock.shows)
    )::integer
    FROM (SELECT p_at AT TIME ZONE p_time_zone AS shows) AS clock
$$;

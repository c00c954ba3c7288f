-- rate_changes(rate, e164, region, from, to) -> at, rate
--
-- How the price of a call changes that was decided at p_from at p_rate: each instant after it
-- and before p_to at which another rate begins to hold for the number, in order. A null rate:
-- from then on there is none.
--
-- The price can change where a version of the deck starts, where a clock of its time zone
-- comes to the first minute of a window or to the first one after it, and where that clock is
-- put forward or back. Only those instants are looked at: of a deck without windows that has
-- no version ahead, none.
--
-- A rate counts only if the call could have been decided on it: it names the number's region,
-- or names none and is for a prefix at least as long as the one decided on. Any other might
-- be the price of another country, and is none.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.rate_changes(
    p_rate rate_terms, p_e164 text, p_region text, p_from timestamptz, p_to timestamptz,
    p_before rate_terms DEFAULT null
)
RETURNS TABLE (at timestamptz, rate rate_terms)
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    WITH version AS (
        SELECT v.version_id, v.starts_at, v.time_zone
        FROM rate_version AS v
        WHERE
            v.deck_id = p_rate.deck_id
            AND v.starts_at < p_to
            AND v.starts_at >= coalesce(
                (
                    SELECT max(f.starts_at)
                    FROM rate_version AS f
                    WHERE f.deck_id = p_rate.deck_id AND f.starts_at <= p_from
                ),
                '-infinity'
            )
    ),

    bound AS (
        SELECT DISTINCT v.time_zone, b.minute
        FROM version AS v
        INNER JOIN rate AS r ON v.version_id = r.version_id
        CROSS JOIN LATERAL unnest(r.minutes) AS span
        CROSS JOIN LATERAL (VALUES (lower(span)), (upper(span) % 10080)) AS b (minute)
        WHERE r.prefix = ANY(prefixes_of(p_e164))
    ),

    -- No clock has been off whole minutes since 1972: it comes to a bound at a whole one.
    clock AS (
        SELECT
            z.time_zone,
            minutes.at,
            week_minute(minutes.at, z.time_zone) AS minute,
            week_minute(minutes.at - interval '1 minute', z.time_zone) AS minute_before
        FROM (SELECT DISTINCT b.time_zone FROM bound AS b) AS z
        CROSS JOIN generate_series(
            date_trunc('minute', p_from, 'UTC'), p_to, interval '1 minute'
        ) AS minutes (at)
        WHERE minutes.at > p_from AND minutes.at < p_to
    ),

    instant AS (
        SELECT v.starts_at AS at FROM version AS v WHERE v.starts_at > p_from
        UNION
        SELECT c.at
        FROM clock AS c
        WHERE
            c.minute <> (c.minute_before + 1) % 10080
            OR (c.time_zone, c.minute) IN (SELECT b.time_zone, b.minute FROM bound AS b)
    ),

    price AS (
        SELECT
            i.at,
            rate_in_force(p_rate, p_e164, p_region, i.at) AS rate
        FROM instant AS i
    ),

    change AS (
        SELECT p.at, p.rate, lag(p.rate, 1, coalesce(p_before, p_rate)) OVER (ORDER BY p.at) AS rate_before
        FROM price AS p
    )

    SELECT c.at, c.rate
    FROM change AS c
    WHERE c.rate IS DISTINCT FROM c.rate_before
    ORDER BY c.at
$$;

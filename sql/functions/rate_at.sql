-- rate_at(deck_id, e164, at) -> rate
--
-- The price of a number in a deck at an instant: of the version that is in force then, the
-- row of the longest prefix, and of that the one whose minutes of the week it is before the
-- one that holds at any time. No row if the deck has none, or there is no deck.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.rate_at(p_deck_id integer, p_e164 text, p_at timestamptz)
RETURNS SETOF dialout.rate
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT r.*
    FROM (
        SELECT v.version_id, v.time_zone
        FROM rate_version AS v
        WHERE v.deck_id = p_deck_id AND v.starts_at <= p_at
        ORDER BY v.starts_at DESC
        LIMIT 1
    ) AS version
    INNER JOIN rate AS r ON version.version_id = r.version_id
    WHERE
        r.prefix = ANY(prefixes_of(p_e164))
        AND (r.minutes IS null OR r.minutes @> week_minute(p_at, version.time_zone))
    ORDER BY length(r.prefix) DESC, r.slot = 0
    LIMIT 1
$$;

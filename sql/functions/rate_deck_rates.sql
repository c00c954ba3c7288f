-- rate_deck_rates(deck_id, at, prefix, after_prefix, after_slot, limit) -> rate, ...
--
-- What a deck holds at an instant, by prefix: only prefixes that begin with p_prefix, and only
-- what comes after a row that was seen, p_limit rows at most. Each tells its hours, as spans
-- of minutes of the week, in which time zone they are, and from when until when it holds; null
-- if it is always, or no version lies ahead.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.rate_deck_rates(
    p_deck_id integer,
    p_at timestamptz,
    p_prefix text,
    p_after_prefix text,
    p_after_slot integer,
    p_limit integer
)
RETURNS TABLE (
    prefix text,
    slot smallint,
    hours json,
    name text,
    price_micros bigint,
    connect_fee_micros bigint,
    initial_increment_seconds integer,
    increment_seconds integer,
    regions text[],
    time_zone text,
    starts_at timestamptz,
    ends_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        r.prefix,
        r.slot,
        CASE WHEN r.minutes IS NOT null THEN (
            SELECT json_build_object('spans', json_agg(ARRAY[lower(s), upper(s)] ORDER BY s))
            FROM unnest(r.minutes) AS s
        ) END,
        r.name,
        r.price_micros,
        r.connect_fee_micros,
        r.initial_increment_seconds,
        r.increment_seconds,
        r.regions,
        version.time_zone,
        nullif(version.starts_at, '-infinity'),
        (
            SELECT min(v.starts_at)
            FROM rate_version AS v
            WHERE v.deck_id = p_deck_id AND v.starts_at > p_at
        )
    FROM (
        SELECT v.*
        FROM rate_version AS v
        WHERE v.deck_id = p_deck_id AND v.starts_at <= p_at
        ORDER BY v.starts_at DESC
        LIMIT 1
    ) AS version
    INNER JOIN rate AS r ON version.version_id = r.version_id
    WHERE
        starts_with(r.prefix, p_prefix)
        AND r.prefix >= p_prefix
        AND (r.prefix, r.slot) > (p_after_prefix COLLATE "C", p_after_slot)
    ORDER BY r.prefix, r.slot
    LIMIT p_limit
$$;

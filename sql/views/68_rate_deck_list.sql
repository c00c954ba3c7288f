-- The decks: how many rates are in force, in which time zone and since when, and the versions
-- that lie ahead, as JSON.
CREATE OR REPLACE VIEW dialout.rate_deck_list AS
SELECT
    d.deck_id,
    d.name,
    d.currency,
    held.time_zone,
    coalesce(held.rates, 0) AS rates,
    nullif(held.starts_at, '-infinity') AS rates_from,
    ahead.versions AS ahead
FROM dialout.rate_deck AS d
LEFT JOIN LATERAL (
    SELECT
        v.time_zone,
        v.rates,
        v.starts_at
    FROM dialout.rate_version AS v
    WHERE v.deck_id = d.deck_id AND v.starts_at <= now()
    ORDER BY v.starts_at DESC
    LIMIT 1
) AS held ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(
            json_agg(
                json_build_object(
                    'starts_at', v.starts_at, 'time_zone', v.time_zone, 'rates', v.rates
                )
                ORDER BY v.starts_at
            ),
            '[]'
        ) AS versions
    FROM dialout.rate_version AS v
    WHERE v.deck_id = d.deck_id AND v.starts_at > now()
) AS ahead;

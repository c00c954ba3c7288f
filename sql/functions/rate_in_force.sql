-- rate_in_force(rate, e164, region, at) -> rate
--
-- What the deck of a rate says at p_at of the number of a call that was decided at that rate:
-- null, if it has no rate for it then. A rate counts only if it is meant for the number's
-- country, or names none and is no wider than the one that the call was decided at.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.rate_in_force(
    p_rate rate_terms, p_e164 text, p_region text, p_at timestamptz
)
RETURNS rate_terms
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        ROW(
            p_rate.deck_id, r.prefix, p_rate.currency, r.price_micros,
            r.connect_fee_micros, r.initial_increment_seconds, r.increment_seconds
        )::rate_terms
    FROM rate_at(p_rate.deck_id, p_e164, p_at) AS r
    WHERE
        p_region = ANY(r.regions)
        OR (r.regions IS null AND length(r.prefix) >= length(p_rate.prefix))
$$;

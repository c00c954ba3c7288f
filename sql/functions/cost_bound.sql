-- cost_bound(seconds, rates) -> micros
--
-- The most that a call can cost that uses no more than so many seconds of each stretch. With
-- one rate it is the cost of all of them. With several, where the call ends decides which of
-- them the connect fee and the increments are of: the dearest is taken.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.cost_bound(p_seconds integer[], p_rates rate_terms[])
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_bound bigint;
BEGIN
    IF cardinality(p_rates) = 0 OR p_rates[1] = ALL(p_rates) THEN
        RETURN cost_micros(p_seconds, p_rates);
    END IF;
    SELECT
        max(r.connect_fee_micros)
        + div_ceil(
            (
                sum(r.price_micros * r.seconds)
                + max(r.price_micros)
                * max(greatest(r.initial_increment_seconds, r.increment_seconds))
            )::bigint,
            60
        )
    INTO v_bound
    FROM unnest(p_seconds, p_rates) AS r (
        seconds, deck_id, prefix, currency, price_micros, connect_fee_micros,
        initial_increment_seconds, increment_seconds
    );
    RETURN v_bound;
END
$$;

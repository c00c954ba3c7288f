-- cost_parts(seconds, rates) -> micros[]
--
-- What a call costs, stretch by stretch, in their order: so many seconds of each, at these
-- rates. A stretch without a rate costs nothing and counts for nothing. The one place where
-- money is rounded: time is counted up to whole increments once, at the end of the call, and
-- the price of all of it up to a whole micro, once. What a stretch costs is what it adds to
-- the ones before it, so that the sum is the same however a call was cut into slices.
--
-- The first stretch brings the connect fee and the initial increment. What the increments add
-- has the price and the increment of the last. No seconds cost nothing.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.cost_parts(p_seconds integer[], p_rates rate_terms[])
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_micros bigint[] := '{}';
    v_first rate_terms;
    v_rate rate_terms;
    v_last integer := 0;
    v_seconds bigint := 0;
    v_sixtieths bigint := 0;
    v_cost bigint := 0;
    v_cost_before bigint := 0;
BEGIN
    FOR v_place IN 1..cardinality(p_seconds) LOOP
        IF p_seconds[v_place] > 0 AND (p_rates[v_place]).price_micros IS NOT null THEN
            v_last := v_place;
        END IF;
    END LOOP;
    FOR v_place IN 1..cardinality(p_seconds) LOOP
        IF p_seconds[v_place] > 0 AND (p_rates[v_place]).price_micros IS NOT null THEN
            v_rate := p_rates[v_place];
            IF v_seconds = 0 THEN
                v_first := v_rate;
            END IF;
            v_seconds := v_seconds + p_seconds[v_place];
            v_sixtieths := v_sixtieths + v_rate.price_micros * p_seconds[v_place];
            IF v_place = v_last THEN
                v_sixtieths := v_sixtieths + v_rate.price_micros * (
                    v_first.initial_increment_seconds
                    + div_ceil(
                        greatest(0, v_seconds - v_first.initial_increment_seconds),
                        v_rate.increment_seconds
                    ) * v_rate.increment_seconds
                    - v_seconds
                );
            END IF;
            v_cost := v_first.connect_fee_micros + div_ceil(v_sixtieths, 60);
        END IF;
        v_micros := v_micros || (v_cost - v_cost_before);
        v_cost_before := v_cost;
    END LOOP;
    RETURN v_micros;
END
$$;

-- charge_micros(seconds, rate) -> micros
--
-- What so many seconds cost at a rate. The one place where money is rounded: time is
-- counted up to whole increments, then the price of it up to a whole micro, once.
--
-- The initial increment is charged whole, then each started increment; the connect fee
-- with the first second. Nothing is charged for no seconds, nor by a source that is
-- counted in seconds, which has no rate.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.charge_micros(p_seconds integer, p_rate rate_terms)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_seconds_over bigint;
    v_seconds_charged bigint;
BEGIN
    IF p_seconds = 0 OR p_rate IS null THEN
        RETURN 0;
    END IF;
    v_seconds_over := greatest(0, p_seconds - p_rate.initial_increment_seconds);
    v_seconds_charged := p_rate.initial_increment_seconds
        + div_ceil(v_seconds_over, p_rate.increment_seconds) * p_rate.increment_seconds;
    RETURN p_rate.connect_fee_micros + div_ceil(p_rate.price_micros * v_seconds_charged, 60);
END
$$;

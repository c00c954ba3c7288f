-- seconds_paid(micros, seconds_max, rate) -> seconds
--
-- The most seconds, up to seconds_max, that cost no more than so many micros: the inverse
-- of charge_micros, exact. One second more than the result either costs too much or was
-- not asked for.
--
-- The price of n seconds is rounded up to a micro, so it is covered exactly when the
-- unrounded price is; the division here may therefore round down.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.seconds_paid(
    p_micros bigint, p_seconds_max integer, p_rate rate_terms
)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_micros bigint := p_micros - p_rate.connect_fee_micros;
    v_seconds bigint;
BEGIN
    IF v_micros < 0 THEN
        RETURN 0;
    END IF;
    IF p_rate.price_micros = 0 THEN
        RETURN p_seconds_max;
    END IF;
    v_seconds := v_micros * 60 / p_rate.price_micros;
    IF v_seconds < p_rate.initial_increment_seconds THEN
        RETURN 0;
    END IF;
    v_seconds := v_seconds
        - (v_seconds - p_rate.initial_increment_seconds) % p_rate.increment_seconds;
    RETURN least(v_seconds, p_seconds_max);
END
$$;

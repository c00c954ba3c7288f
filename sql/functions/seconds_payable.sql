-- seconds_payable(micros, seconds_max, rate, seconds_before, rates_before) -> seconds
--
-- The most seconds, up to seconds_max, that a call can go on at a rate so that all of it, with
-- the stretches before, is bound to cost no more than so many micros. One second more than the
-- result either could cost too much or was not asked for.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.seconds_payable(
    p_micros bigint,
    p_seconds_max integer,
    p_rate rate_terms,
    p_seconds_before integer[],
    p_rates_before rate_terms[]
)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_rates rate_terms[] := p_rates_before || p_rate;
    v_payable integer := 0;
    v_too_many integer := p_seconds_max + 1;
    v_try integer := p_seconds_max;
BEGIN
    WHILE v_try > v_payable LOOP
        IF cost_bound(p_seconds_before || v_try, v_rates) <= p_micros THEN
            v_payable := v_try;
        ELSE
            v_too_many := v_try;
        END IF;
        v_try := (v_payable + v_too_many) / 2;
    END LOOP;
    RETURN v_payable;
END
$$;

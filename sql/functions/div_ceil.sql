-- div_ceil(dividend, divisor) -> quotient
--
-- Division that rounds up, for a dividend that is not negative. It has a name so that
-- nobody must guess from an expression in whose favour it rounds.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.div_ceil(p_dividend bigint, p_divisor bigint)
RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$
    SELECT (p_dividend + p_divisor - 1) / p_divisor
$$;

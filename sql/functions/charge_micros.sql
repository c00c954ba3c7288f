-- charge_micros(seconds, rate) -> micros
--
-- What so many seconds cost at one rate; nothing by a source that is counted in seconds, which
-- has no rate.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.charge_micros(p_seconds integer, p_rate rate_terms)
RETURNS bigint
LANGUAGE sql IMMUTABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT CASE WHEN p_rate IS null THEN 0 ELSE cost_micros(ARRAY[p_seconds], ARRAY[p_rate]) END
$$;

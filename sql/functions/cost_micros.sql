-- cost_micros(seconds, rates) -> micros
--
-- What a call costs in all: the sum of cost_parts.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.cost_micros(p_seconds integer[], p_rates rate_terms[])
RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT coalesce(sum(c), 0)::bigint FROM unnest(cost_parts(p_seconds, p_rates)) AS c
$$;

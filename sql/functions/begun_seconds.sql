-- begun_seconds(answered_at, ended_at) -> seconds
--
-- How many seconds a call has begun, 1 at the least: it is the answer that the carrier charges
-- for. Clocks that went backwards count as no time at all. No call lasts longer than can be told.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.begun_seconds(p_answered_at timestamptz, p_ended_at timestamptz)
RETURNS integer
LANGUAGE sql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT least(
        2147483647, greatest(1, ceil(extract(EPOCH FROM p_ended_at - p_answered_at)))
    )::integer
$$;

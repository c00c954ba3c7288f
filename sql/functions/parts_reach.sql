-- parts_reach(parts, answered_at, seconds) -> seconds
--
-- How many seconds from the answer, at most p_seconds, a call's parts pay for without a gap.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.parts_reach(
    p_parts part[], p_answered_at timestamptz, p_seconds integer
)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_part part;
    v_reach integer := 0;
    v_to numeric;
BEGIN
    FOREACH v_part IN ARRAY p_parts LOOP
        IF v_part.from_at <= p_answered_at + make_interval(secs => v_reach) THEN
            v_to := least(p_seconds, ceil(extract(EPOCH FROM v_part.to_at - p_answered_at)));
            v_reach := v_reach + greatest(0, least(v_part.seconds, v_to - v_reach));
        END IF;
    END LOOP;
    RETURN v_reach;
END
$$;

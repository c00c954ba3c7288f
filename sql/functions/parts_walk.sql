-- parts_walk(parts, answered_at, seconds) -> seconds[]
--
-- How many seconds of a call each of its parts pays for, second by second from the answer: a
-- second is paid by the first part that has any left and that pays at the instant at which
-- the second begins. One that no part pays for is left out, and the next is looked at.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.parts_walk(
    p_parts part[], p_answered_at timestamptz, p_seconds integer
)
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_part part;
    v_next integer := 0;
    v_from numeric;
    v_to numeric;
    v_paid integer;
    v_seconds integer[] := '{}';
BEGIN
    FOREACH v_part IN ARRAY p_parts LOOP
        -- The first second that begins at from_at or later, and the first that begins at
        -- to_at or later.
        v_from := greatest(v_next, ceil(extract(EPOCH FROM v_part.from_at - p_answered_at)));
        v_to := least(p_seconds, ceil(extract(EPOCH FROM v_part.to_at - p_answered_at)));
        v_paid := greatest(0, least(v_part.seconds, v_to - v_from));
        v_seconds := v_seconds || v_paid;
        IF v_paid > 0 THEN
            v_next := v_from + v_paid;
        END IF;
    END LOOP;
    RETURN v_seconds;
END
$$;

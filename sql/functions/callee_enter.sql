-- callee_enter(destination, cool_down, at) -> may_call
--
-- Counts one more attempt to call a number, whoever makes it, and says whether it may be made.
-- The last one that the cool-down allows in a window has the number left alone from then on,
-- for as long as that says, unless somebody there accepts one of the calls. An attempt that may
-- not be made counts for nothing and writes nothing: nobody can prolong the quiet by asking. A
-- null cool-down counts nothing and lets everybody call.
--
-- Retries: none of its own; a step of reserve, which comes here once.
-- Locks:   the callee. This row alone is no tenant's own, so it is locked when everything has
--          been that somebody else may hold who waits for a callee.
CREATE OR REPLACE FUNCTION dialout.callee_enter(
    p_destination text, p_cool_down cool_down, p_at timestamptz
)
RETURNS boolean
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_quiet_until timestamptz := p_at + make_interval(secs => (p_cool_down).quiet_seconds);
    v_long_past timestamptz := p_at - make_interval(secs => (p_cool_down).window_seconds);
BEGIN
    IF p_cool_down IS null THEN
        RETURN true;
    END IF;
    INSERT INTO callee AS c (destination, attempts, window_from, quiet_until)
    VALUES (
        p_destination, 1, p_at,
        CASE WHEN (p_cool_down).attempts <= 1 THEN v_quiet_until ELSE '-infinity' END
    )
    ON CONFLICT (destination) DO UPDATE
    SET (attempts, window_from, quiet_until) = (
        SELECT
            n.attempts,
            CASE WHEN n.attempts = 1 THEN p_at ELSE c.window_from END,
            CASE WHEN n.attempts >= (p_cool_down).attempts THEN v_quiet_until ELSE '-infinity' END
        FROM (
            SELECT
                CASE
                    WHEN c.window_from > v_long_past AND c.quiet_until = '-infinity'
                        THEN c.attempts + 1
                    ELSE 1
                END AS attempts
        ) AS n
    )
    WHERE c.quiet_until <= p_at;
    RETURN found;
END
$$;

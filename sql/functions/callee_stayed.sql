-- callee_stayed(destination, answered_at, seen_at, until)
--
-- Forgets how often a number was called, if a call that nobody had to press a key for has lasted
-- fifteen seconds: nobody hangs up on a nuisance so late. seen_at is when the call was seen
-- alive before, null for never; what had lasted so long by then was looked at then.
--
-- Retries: safe.
-- Locks:   the callee.
CREATE OR REPLACE FUNCTION dialout.callee_stayed(
    p_destination text, p_answered_at timestamptz, p_seen_at timestamptz, p_until timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_stays_from timestamptz := p_answered_at + interval '15 seconds';
BEGIN
    IF v_stays_from <= p_until AND (p_seen_at >= v_stays_from) IS NOT true THEN
        PERFORM callee_accept(p_destination);
    END IF;
END
$$;

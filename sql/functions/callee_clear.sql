-- callee_clear(destination) -> outcome
--
-- Lets a number be called again at once that was called too often: an operator knows better.
--
-- Outcomes. The first that applies is returned.
--   absent   it was not called of late; nothing is written
--   removed  nothing is known of earlier calls any more
--
-- Retries: safe. The second one gets `absent`.
-- Locks:   the callee.
CREATE OR REPLACE FUNCTION dialout.callee_clear(p_destination text)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    DELETE FROM callee AS c WHERE c.destination = p_destination;
    RETURN CASE WHEN found THEN 'removed' ELSE 'absent' END;
END
$$;

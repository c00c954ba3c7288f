-- callee_accept(destination)
--
-- Forgets how often a number was called: somebody at it has accepted a call.
--
-- Retries: safe.
-- Locks:   the callee.
CREATE OR REPLACE FUNCTION dialout.callee_accept(p_destination text)
RETURNS void
LANGUAGE sql
SET search_path TO dialout, pg_temp
AS $$
    DELETE FROM callee AS c WHERE c.destination = p_destination
$$;

-- rate_deck_find(name) -> deck_id, currency
--
-- The deck of a name; no row if there is none.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.rate_deck_find(p_name text)
RETURNS TABLE (deck_id integer, currency text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT d.deck_id, d.currency
    FROM rate_deck AS d
    WHERE d.name = p_name
$$;

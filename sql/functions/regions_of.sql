-- regions_of(text) -> regions
--
-- The regions that a text with semicolons names, in order, each once; null for a null one.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.regions_of(p_text text)
RETURNS text[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT array_agg(DISTINCT r ORDER BY r) FROM string_to_table(p_text, ';') AS r
$$;

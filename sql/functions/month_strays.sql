-- month_strays() -> relations
--
-- The tables whose default partition holds anything.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.month_strays()
RETURNS text[]
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT coalesce(array_agg(s.relation), '{}')
    FROM (
        SELECT 'dial_out' AS relation WHERE EXISTS (SELECT FROM dial_out_default)
        UNION ALL
        SELECT 'part' WHERE EXISTS (SELECT FROM part_default)
        UNION ALL
        SELECT 'charge' WHERE EXISTS (SELECT FROM charge_default)
        UNION ALL
        SELECT 'entry' WHERE EXISTS (SELECT FROM entry_default)
    ) AS s
$$;

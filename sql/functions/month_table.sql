-- month_table(relation, month) -> name
--
-- What the partition of a table is called that holds a month of UTC: `entry_2026_01`.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.month_table(p_relation text, p_month timestamptz)
RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT p_relation || to_char(p_month AT TIME ZONE 'UTC', '_YYYY_MM')
$$;

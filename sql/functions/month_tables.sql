-- month_tables() -> relation, filed_by, fillfactor
--
-- The tables that lie in partitions by the month, the column that they are filed by, and how
-- full a page of theirs is written: a dial-out is updated a few times. In the order in which
-- whoever locks several of them does.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.month_tables()
RETURNS TABLE (relation text, filed_by text, fillfactor integer)
LANGUAGE sql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
    VALUES
    ('dial_out', 'requested_at', 60),
    ('part', 'filed_at', 100),
    ('charge', 'filed_at', 100),
    ('entry', 'filed_at', 100)
$$;

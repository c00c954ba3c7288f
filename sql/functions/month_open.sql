-- month_open(month)
--
-- Makes the partitions of a month of UTC, and moves into them what has come to lie in the
-- default ones.
--
-- Retries: safe. A month that is open, or was taken out, stays as it is.
-- Locks:   the default partitions, against everything, for a moment; for as long as it takes
--          to move what lies there, if anything does.
CREATE OR REPLACE FUNCTION dialout.month_open(p_month timestamptz)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_table record;
    v_to timestamptz := date_add(p_month, interval '1 month', 'UTC');
BEGIN
    FOR v_table IN
        SELECT
            t.*,
            month_table(t.relation, p_month) AS name,
            t.relation || '_default' AS default_name,
            format('%I >= %L AND %I < %L', t.filed_by, p_month, t.filed_by, v_to) AS is_in_month
        FROM month_tables() AS t
        WHERE
            to_regclass(month_table(t.relation, p_month)) IS null
            AND to_regclass('dialout_archive.' || month_table(t.relation, p_month)) IS null
    LOOP
        EXECUTE format(
            'CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (fillfactor = %s)',
            v_table.name, v_table.relation, v_table.fillfactor
        );
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', v_table.default_name);
        -- What is recorded is only moved, from one partition to another: nothing is deleted.
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', v_table.default_name);
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE %s RETURNING *) INSERT INTO %I SELECT * FROM moved',
            v_table.default_name, v_table.is_in_month, v_table.name
        );
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', v_table.default_name);
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            v_table.relation, v_table.name, p_month, v_to
        );
    END LOOP;
END
$$;

-- month_attach(month) -> outcome
--
-- Puts a month of UTC back into the ledger that was taken out and is still in the schema
-- dialout_archive, or was restored to it. What it comes to is carried no longer.
--
-- Outcomes. The first that applies is returned; `unknown_month` writes nothing.
--   unknown_month  it is not in dialout_archive
--   attached       it is in
--
-- Retries: safe.
-- Locks:   as months_lock, for as long as it takes to read the month once.
-- Raises:  55P03 if others hold what it needs for longer than lock_timeout; ask again.
CREATE OR REPLACE FUNCTION dialout.month_attach(p_month timestamptz)
RETURNS text
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_table record;
BEGIN
    IF NOT EXISTS (SELECT FROM month_list() AS m WHERE m.month = p_month AND m.is_detached) THEN
        RETURN 'unknown_month';
    END IF;

    -- From here on it must succeed.
    PERFORM months_lock();
    FOR v_table IN
        SELECT t.*, month_table(t.relation, p_month) AS name FROM month_tables() AS t
    LOOP
        EXECUTE format('ALTER TABLE dialout_archive.%I SET SCHEMA dialout', v_table.name);
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            v_table.relation, v_table.name, p_month, date_add(p_month, interval '1 month', 'UTC')
        );
        EXECUTE format(
            'ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I',
            v_table.relation || '_default', v_table.name || '_is_out'
        );
    END LOOP;
    ALTER TABLE carry DISABLE TRIGGER carry_append_only;
    ALTER TABLE joint DISABLE TRIGGER joint_append_only;
    DELETE FROM carry AS y WHERE y.month = p_month;
    DELETE FROM joint AS j WHERE j.month = p_month;
    ALTER TABLE carry ENABLE TRIGGER carry_append_only;
    ALTER TABLE joint ENABLE TRIGGER joint_append_only;
    RETURN 'attached';
END
$$;

-- month_detach(month, at) -> outcome
--
-- Takes a month of UTC out of the ledger: its partitions go to the schema dialout_archive, as
-- they are, and what its entries come to is carried. From then on nothing is filed in it.
-- Whoever asks has checked the month before: what was wrong with it can be seen no more.
--
-- What is carried is summed up before anything is locked, and compared with the chains when
-- nothing more can come.
--
-- Outcomes. The first that applies is returned; all but `detached` write nothing.
--   unknown_month  it has no partitions, or they were taken out before
--   not_over       it has not ended, or a month before it is still in
--   open_calls     a dial-out that is filed in it has not ended
--   detached       it is out
--
-- Retries: safe.
-- Locks:   as months_lock, for a moment, when all that takes time is done.
-- Raises:  55P03 if others hold what it needs for longer than lock_timeout, 40001 if anything
--          was filed meanwhile; ask again.
CREATE OR REPLACE FUNCTION dialout.month_detach(p_month timestamptz, p_at timestamptz)
RETURNS text
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_table record;
    v_to timestamptz := date_add(p_month, interval '1 month', 'UTC');
    v_refusal text := month_refusal(p_month, p_at, false);
BEGIN
    IF v_refusal IS NOT NULL THEN
        RETURN v_refusal;
    END IF;

    -- From here on it must succeed.
    PERFORM month_carry(p_month, v_to);
    PERFORM months_lock();
    FOR v_table IN
        SELECT t.*, month_table(t.relation, p_month) AS name FROM month_tables() AS t
    LOOP
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', v_table.relation, v_table.name);
        EXECUTE format(
            'ALTER TABLE %I ADD CONSTRAINT %I CHECK (%I < %L OR %I >= %L)',
            v_table.relation || '_default', v_table.name || '_is_out',
            v_table.filed_by, p_month, v_table.filed_by, v_to
        );
        EXECUTE format('ALTER TABLE %I SET SCHEMA dialout_archive', v_table.name);
    END LOOP;
    IF EXISTS (
        SELECT FROM chain AS c
        LEFT JOIN (
            SELECT y.tenant_id, sum(y.entries) AS entries FROM carry AS y
            WHERE y.month = p_month
            GROUP BY y.tenant_id
        ) AS y ON c.tenant_id = y.tenant_id
        WHERE c.month = p_month AND c.number <> coalesce(y.entries, 0)
    ) THEN
        RAISE EXCEPTION 'something was filed in the month meanwhile'
            USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN 'detached';
END
$$;

-- months_open(at) -> relations
--
-- Makes the partitions of this month of UTC and the three after it, and returns the tables
-- whose default partition holds anything: of months that nobody opened in time. As long as
-- there is any, nothing is made: months_sort moves it, which keeps calls waiting and is for
-- the migration.
--
-- Calls never wait long for this: it gives up, with nothing done, if it cannot have its locks
-- within 0.3 s. That is less than it takes the server to look for a deadlock.
--
-- Retries: safe. Months that are open cost a look at the catalogue.
-- Locks:   as month_open, for a month that is new.
-- Raises:  55P03 if others hold what it needs; ask again later.
CREATE OR REPLACE FUNCTION dialout.months_open(p_at timestamptz)
RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_month timestamptz;
    v_strays text[] := month_strays();
BEGIN
    IF cardinality(v_strays) > 0 THEN
        RETURN v_strays;
    END IF;
    PERFORM set_config('lock_timeout', '300ms', true);
    FOR v_month IN
        SELECT
            generate_series(
                date_trunc('month', p_at, 'UTC'),
                date_add(p_at, interval '3 months', 'UTC'),
                interval '1 month',
                'UTC'
            )
    LOOP
        PERFORM month_open(v_month);
    END LOOP;
    RETURN v_strays;
END
$$;

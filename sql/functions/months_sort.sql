-- months_sort()
--
-- Opens each month that anything in a default partition belongs to, and moves it there. The
-- migration does it: with what a version before left, and with what came in while nobody
-- opened months.
--
-- Retries: safe.
-- Locks:   as month_open.
CREATE OR REPLACE FUNCTION dialout.months_sort()
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_month timestamptz;
    v_months timestamptz[] := ARRAY(
        SELECT date_trunc('month', d.requested_at, 'UTC') FROM dial_out_default AS d
        UNION
        SELECT date_trunc('month', p.filed_at, 'UTC') FROM part_default AS p
        UNION
        SELECT date_trunc('month', c.filed_at, 'UTC') FROM charge_default AS c
        UNION
        SELECT date_trunc('month', e.filed_at, 'UTC') FROM entry_default AS e
    );
BEGIN
    FOREACH v_month IN ARRAY v_months LOOP
        PERFORM month_open(v_month);
    END LOOP;
END
$$;

-- period_of(time_zone, anchor_day, at) -> starts_at, ends_at
--
-- The month of a tenant that an instant lies in: from midnight, by the tenant's time zone, of
-- the anchor day to that of the next month; of the month's last day where it has no such day.
-- Each month ends where the next one begins, so that no instant is in two or in none: also
-- where a change of the clocks skips midnight, repeats it or leaves a whole day out.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.period_of(
    p_time_zone text,
    p_anchor_day integer,
    p_at timestamptz,
    OUT starts_at timestamptz,
    OUT ends_at timestamptz
)
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_month timestamp := date_trunc('month', p_at AT TIME ZONE p_time_zone);
BEGIN
    starts_at := period_start(p_time_zone, p_anchor_day, v_month);
    WHILE p_at < starts_at LOOP
        v_month := v_month - interval '1 month';
        starts_at := period_start(p_time_zone, p_anchor_day, v_month);
    END LOOP;
    LOOP
        v_month := v_month + interval '1 month';
        ends_at := period_start(p_time_zone, p_anchor_day, v_month);
        EXIT WHEN p_at < ends_at;
        starts_at := ends_at;
    END LOOP;
END
$$;

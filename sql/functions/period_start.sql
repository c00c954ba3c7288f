-- period_start(time_zone, anchor_day, month) -> starts_at
--
-- When a tenant's month begins: p_month is the first day, at midnight, of the month of the
-- calendar that the beginning lies in. A midnight that the clocks repeat counts from the
-- first time; one that they skip, from the instant at which they do.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.period_start(
    p_time_zone text, p_anchor_day integer, p_month timestamp
)
RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_midnight timestamp := least(
        p_month + make_interval(days => p_anchor_day - 1),
        p_month + interval '1 month' - interval '1 day'
    );
    v_at timestamptz := v_midnight AT TIME ZONE p_time_zone;
    -- By the clocks of the day before.
    v_before timestamptz := v_at - (
        (v_at - interval '24 hours') AT TIME ZONE p_time_zone - (v_midnight - interval '24 hours')
    );
BEGIN
    IF v_before < v_at AND v_before AT TIME ZONE p_time_zone = v_midnight THEN
        RETURN v_before;
    END IF;
    RETURN v_at;
END
$$;

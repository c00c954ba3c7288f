-- month_refusal(month, at, is_next) -> outcome, or null if nothing in the month keeps it in
--
-- Why a month of UTC cannot be taken out; the outcomes are those of month_detach. With p_is_next
-- the months before it count as taken out: whoever rehearses several has only looked at them.
--
-- Retries: writes nothing.
-- Locks:   none.
CREATE OR REPLACE FUNCTION dialout.month_refusal(
    p_month timestamptz, p_at timestamptz, p_is_next boolean
)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_to timestamptz := date_add(p_month, interval '1 month', 'UTC');
BEGIN
    RETURN CASE
        WHEN NOT EXISTS (
            SELECT FROM month_list() AS m WHERE m.month = p_month AND NOT m.is_detached
        ) THEN 'unknown_month'
        WHEN p_at < v_to THEN 'not_over'
        WHEN NOT p_is_next AND EXISTS (
            SELECT FROM month_list() AS m WHERE m.month < p_month AND NOT m.is_detached
        ) THEN 'not_over'
        WHEN month_is_open(p_month, v_to) THEN 'open_calls'
    END;
END
$$;

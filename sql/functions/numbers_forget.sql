-- numbers_forget(limit, at) -> forgotten
--
-- Forgets the numbers that nobody has a use for any more: those of participants who were not
-- called at them for 90 days, and how often a number was called once that changes nothing, which
-- is a day after it did. At most p_limit of each; the rest is for the next time.
--
-- Retries: safe.
-- Locks:   what it deletes; what somebody else holds is left to the next time.
CREATE OR REPLACE FUNCTION dialout.numbers_forget(p_limit integer, p_at timestamptz)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_callees integer;
    v_numbers integer;
BEGIN
    DELETE FROM callee AS c
    WHERE c.ctid = ANY(ARRAY(
        SELECT o.ctid
        FROM callee AS o
        WHERE greatest(o.window_from, o.quiet_until) < p_at - interval '1 day'
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS v_callees := ROW_COUNT;
    DELETE FROM recent_number AS n
    WHERE n.ctid = ANY(ARRAY(
        SELECT o.ctid
        FROM recent_number AS o
        WHERE o.last_at < p_at - interval '90 days'
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS v_numbers := ROW_COUNT;
    RETURN v_callees + v_numbers;
END
$$;

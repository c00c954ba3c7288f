-- limits_forget(tenant_id, day)
--
-- Deletes a few of the counts of a tenant that are more than a week past, more than one call
-- can have made: so they never pile up, and no call waits for all of them to be deleted.
--
-- Retries: safe.
-- Locks:   what it deletes. The caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.limits_forget(p_tenant_id uuid, p_day date)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_kept_from date := p_day - 7;
    v_counts_max integer := 4;
BEGIN
    DELETE FROM callee_day AS c
    WHERE c.ctid = ANY(ARRAY(
        SELECT o.ctid
        FROM callee_day AS o
        WHERE o.tenant_id = p_tenant_id AND o.day < v_kept_from
        LIMIT v_counts_max
    ));
    DELETE FROM limit_day AS d
    WHERE d.ctid = ANY(ARRAY(
        SELECT o.ctid
        FROM limit_day AS o
        WHERE o.tenant_id = p_tenant_id AND o.day < v_kept_from
        LIMIT v_counts_max
    ));
    DELETE FROM meeting_day AS m
    WHERE m.ctid = ANY(ARRAY(
        SELECT o.ctid
        FROM meeting_day AS o
        WHERE o.tenant_id = p_tenant_id AND o.day < v_kept_from
        LIMIT v_counts_max
    ));
END
$$;

-- recharge_remove(tenant_id) -> outcome
--
-- Has a tenant's credits recharged no more. A recharge that was asked for stays open until the
-- payment system has answered it.
--
-- Outcomes. The first that applies is returned; all but `removed` write nothing.
--   unknown_tenant  no such tenant
--   absent          they are not recharged
--   removed         they are recharged no more
--
-- Retries: safe. The second one gets `absent`.
-- Locks:   the tenant's row, then its lots in the order of their ids.
CREATE OR REPLACE FUNCTION dialout.recharge_remove(p_tenant_id uuid)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    DELETE FROM auto_recharge AS a WHERE a.tenant_id = p_tenant_id;
    IF NOT found THEN
        RETURN 'absent';
    END IF;
    PERFORM recharge_mark(p_tenant_id, null);
    RETURN 'removed';
END
$$;

-- tenant_lock(tenant_id) -> outcome
--
-- Keeps a tenant from being changed by anybody else until the transaction ends, so that what
-- is read after it is still so when it is replaced.
--
-- Outcomes. The first that applies is returned.
--   unknown_tenant  no such tenant
--   locked          nobody else changes it
--
-- Retries: safe.
-- Locks:   the tenant's row, until the transaction ends.
CREATE OR REPLACE FUNCTION dialout.tenant_lock(p_tenant_id uuid)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    RETURN CASE WHEN found THEN 'locked' ELSE 'unknown_tenant' END;
END
$$;

-- ledger_heads(tenant_id) -> month, number, digest
--
-- The last entry of each month of a tenant's, in order: who keeps these elsewhere can tell
-- later, by ledger_check_heads, that nothing before them was changed or cut off.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.ledger_heads(p_tenant_id uuid)
RETURNS TABLE (month timestamptz, number bigint, digest bytea)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT c.month, c.number, c.digest
    FROM chain AS c
    WHERE c.tenant_id = p_tenant_id
    ORDER BY c.month
$$;

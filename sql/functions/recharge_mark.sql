-- recharge_mark(tenant_id, trigger_micros)
--
-- Writes a tenant's trigger at each of its lots; null has none of them asked for a recharge.
--
-- Retries: safe.
-- Locks:   the lots, in the order of their ids. The caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.recharge_mark(p_tenant_id uuid, p_trigger_micros bigint)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM sources_lock(p_tenant_id, array_agg(s.source_id))
    FROM source AS s
    WHERE s.tenant_id = p_tenant_id AND s.kind = 'credits';
    UPDATE source AS s
    SET recharge_below = p_trigger_micros
    WHERE s.tenant_id = p_tenant_id AND s.kind = 'credits';
END
$$;

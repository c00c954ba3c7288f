-- chain_lock(tenant_id, month) -> chain
--
-- The tenant's last entry of a month of filing, locked. A month that is new begins where the
-- one before it stands now; a tenant's first one with the tenant's own id.
--
-- Retries: safe.
-- Locks:   the chain, until the transaction ends.
CREATE OR REPLACE FUNCTION dialout.chain_lock(p_tenant_id uuid, p_month timestamptz)
RETURNS chain
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_chain chain;
    v_origin bytea;
BEGIN
    SELECT c.* INTO v_chain
    FROM chain AS c
    WHERE c.tenant_id = p_tenant_id AND c.month = p_month
    FOR NO KEY UPDATE;
    IF found THEN
        RETURN v_chain;
    END IF;

    SELECT c.digest INTO v_origin
    FROM chain AS c
    WHERE c.tenant_id = p_tenant_id AND c.month < p_month
    ORDER BY c.month DESC
    LIMIT 1;
    v_origin := coalesce(v_origin, sha256(convert_to(p_tenant_id::text, 'UTF8')));
    INSERT INTO chain (tenant_id, month, origin, digest)
    VALUES (p_tenant_id, p_month, v_origin, v_origin)
    ON CONFLICT DO NOTHING;
    SELECT c.* INTO STRICT v_chain
    FROM chain AS c
    WHERE c.tenant_id = p_tenant_id AND c.month = p_month
    FOR NO KEY UPDATE;
    RETURN v_chain;
END
$$;

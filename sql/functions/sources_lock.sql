-- sources_lock(tenant_id, source_ids)
--
-- Locks sources in the order of their ids. Whoever needs several takes them here, so that
-- two transactions can never wait for each other.
--
-- Retries: harmless.
-- Locks:   the sources, until the transaction ends.
CREATE OR REPLACE FUNCTION dialout.sources_lock(p_tenant_id uuid, p_source_ids uuid[])
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM
    FROM source AS s
    WHERE s.tenant_id = p_tenant_id AND s.source_id = ANY(p_source_ids)
    ORDER BY s.source_id
    FOR NO KEY UPDATE;
END
$$;

-- sources_recount_due(tenant_id, at, source_ids)
--
-- Notes that sources are due to be counted again, from p_at on. Shared ones are counted by
-- the trigger source_due when the transaction commits.
--
-- Retries: safe. A source that is due stays due, and one that is not capped is never due.
-- Locks:   the sources, in the order of their ids; the caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.sources_recount_due(
    p_tenant_id uuid, p_at timestamptz, p_source_ids uuid[]
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM sources_lock(p_tenant_id, p_source_ids);
    UPDATE source AS s
    SET recount_at = p_at
    WHERE
        s.tenant_id = p_tenant_id
        AND s.source_id = ANY(p_source_ids)
        AND s.capped
        AND (s.recount_at <= p_at) IS NOT TRUE;
END
$$;

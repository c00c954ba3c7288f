-- sources_recount(tenant_id, source_ids, at)
--
-- Counts those of the sources again that are due at p_at; one that opens later, as it will be
-- when it opens.
--
-- Retries: safe.
-- Locks:   none of its own. The caller holds the sources, and the tenant's row.
CREATE OR REPLACE FUNCTION dialout.sources_recount(
    p_tenant_id uuid, p_source_ids uuid[], p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM benefit_recount(p_tenant_id, s.source_id, greatest(p_at, s.valid_from))
    FROM source AS s
    WHERE
        s.tenant_id = p_tenant_id AND s.source_id = ANY(p_source_ids)
        AND s.recount_at <= greatest(p_at, s.valid_from);
END
$$;

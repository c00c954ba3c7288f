-- benefits_recount(tenant_id, sku, at)
--
-- Has the tenant's shared sources counted again to which licences of this SKU bring minutes
-- and that are valid at p_at or later. They are counted once, when the transaction commits, however
-- many licences it assigns: a count is as long as the tenant has licences. What is one
-- organizer's own needs no other count: it is granted whole, or is due until it is.
--
-- Retries: safe. A source that is due stays due.
-- Locks:   the sources, in the order of their ids; the caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.benefits_recount(
    p_tenant_id uuid, p_sku text, p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM sources_recount_due(p_tenant_id, p_at, ARRAY(
        SELECT s.source_id
        FROM benefit AS b
        INNER JOIN source AS s ON b.benefit_id = s.benefit_id
        WHERE
            b.sku = p_sku
            AND s.tenant_id = p_tenant_id
            AND coalesce(s.organizer_id, '') = ''
            AND p_at < s.valid_to
    ));
END
$$;

-- benefits_recount_due(tenant_id, at)
--
-- Has all sources of the tenant's benefits counted again that are valid at p_at or later, because a
-- choice has changed on which the counts rest: shared ones when the transaction commits, an
-- organizer's own when that organizer next calls.
--
-- Retries: safe. A source that is due stays due.
-- Locks:   the sources, in the order of their ids; the caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.benefits_recount_due(p_tenant_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM sources_recount_due(p_tenant_id, p_at, ARRAY(
        SELECT s.source_id
        FROM source AS s
        WHERE
            s.tenant_id = p_tenant_id
            AND s.benefit_id IS NOT null
            AND p_at < s.valid_to
    ));
END
$$;

-- organizer_tenants(organizer_id) -> tenant_ids
--
-- The tenants that have an organizer of this id: for people at a terminal, who know one
-- name and not a tenant's id.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.organizer_tenants(p_organizer_id text)
RETURNS uuid[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT ARRAY(
        SELECT o.tenant_id
        FROM organizer AS o
        WHERE o.organizer_id = p_organizer_id
        ORDER BY o.tenant_id
    )
$$;

-- entry_exists(tenant_id, digest, from, to) -> boolean
--
-- Whether a tenant has an entry with this digest that is filed from p_from until before p_to.
--
-- A function, and not a step of the query that asks, so that the months before are read only
-- when it comes to that.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.entry_exists(
    p_tenant_id uuid, p_digest bytea, p_from timestamptz, p_to timestamptz
)
RETURNS boolean
LANGUAGE plpgsql STABLE COST 100000
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM entry AS e
        WHERE
            e.tenant_id = p_tenant_id AND e.filed_at >= p_from AND e.filed_at < p_to
            AND e.digest = p_digest
    );
END
$$;

-- prefix_remove(tenant_id, prefix, effect) -> outcome
--
-- Takes a prefix out of a tenant's list; with a null tenant_id out of the operator's.
--
-- Outcomes. The first that applies is returned; the first writes nothing.
--   absent   it is not listed so
--   removed  it is no more
--
-- Retries: safe. The second one gets `absent`.
-- Locks:   the prefix's row.
CREATE OR REPLACE FUNCTION dialout.prefix_remove(
    p_tenant_id uuid, p_prefix text, p_effect text
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    IF p_tenant_id IS null THEN
        DELETE FROM operator_prefix AS b WHERE b.prefix = p_prefix AND p_effect = 'block';
    ELSE
        DELETE FROM tenant_prefix AS b
        WHERE b.tenant_id = p_tenant_id AND b.prefix = p_prefix AND b.effect = p_effect;
    END IF;
    RETURN CASE WHEN found THEN 'removed' ELSE 'absent' END;
END
$$;

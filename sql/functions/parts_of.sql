-- parts_of(tenant_id, dial_out_id, filed_at) -> part[]
--
-- What is set aside for a call, in the order in which it is used.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.parts_of(
    p_tenant_id uuid, p_dial_out_id uuid, p_filed_at timestamptz
)
RETURNS part[]
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT coalesce(array_agg(p ORDER BY p.begins_at, p.slice, p.part), '{}')
    FROM part AS p
    WHERE
        p.tenant_id = p_tenant_id AND p.dial_out_id = p_dial_out_id AND p.filed_at = p_filed_at
$$;

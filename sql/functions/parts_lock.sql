-- parts_lock(tenant_id, dial_out_id)
--
-- Locks the sources that have set something aside for a dial-out, in the order of their ids.
--
-- Retries: harmless.
-- Locks:   the sources, until the transaction ends.
CREATE OR REPLACE FUNCTION dialout.parts_lock(p_tenant_id uuid, p_dial_out_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM sources_lock(p_tenant_id, ARRAY(
        SELECT p.source_id
        FROM reservation_part AS p
        WHERE p.tenant_id = p_tenant_id AND p.dial_out_id = p_dial_out_id
    ));
END
$$;

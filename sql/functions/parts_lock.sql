-- parts_lock(tenant_id, dial_out_id, filed_at)
--
-- Locks the sources that a dial-out has drawn on, in the order of their ids.
--
-- Retries: harmless.
-- Locks:   the sources, until the transaction ends.
CREATE OR REPLACE FUNCTION dialout.parts_lock(
    p_tenant_id uuid, p_dial_out_id uuid, p_filed_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM sources_lock(p_tenant_id, ARRAY(
        SELECT e.source_id
        FROM entry AS e
        WHERE
            e.tenant_id = p_tenant_id AND e.dial_out_id = p_dial_out_id
            AND e.filed_at = p_filed_at AND e.kind = 'reserve'
    ));
END
$$;

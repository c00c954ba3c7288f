-- organizer_put(tenant_id, organizer_id, display_name, region, dial_out_permission) -> outcome
--
-- Makes an organizer known, or changes one.
--
-- Outcomes. The first that applies is returned; the first writes nothing.
--   unknown_tenant  no such tenant
--   created         the organizer is known now
--   updated         the organizer was known, and is as said now
--
-- Retries: safe. The second one gets `updated`.
-- Locks:   the tenant's row, then the organizer's.
-- Raises:  23514 if the id, the region or the permission has no possible form.
CREATE OR REPLACE FUNCTION dialout.organizer_put(
    p_tenant_id uuid,
    p_organizer_id text,
    p_display_name text,
    p_region text,
    p_dial_out_permission text
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;

    UPDATE organizer AS o
    SET
        display_name = p_display_name,
        region = p_region,
        dial_out_permission = p_dial_out_permission
    WHERE o.tenant_id = p_tenant_id AND o.organizer_id = p_organizer_id;
    IF found THEN
        RETURN 'updated';
    END IF;
    INSERT INTO organizer (tenant_id, organizer_id, display_name, region, dial_out_permission)
    VALUES (p_tenant_id, p_organizer_id, p_display_name, p_region, p_dial_out_permission);
    RETURN 'created';
END
$$;

-- organizer_put(tenant_id, organizer_id, display_name, region, dial_out_permission) -> outcome
--
-- Makes an organizer known, or changes one.
--
-- Outcomes. The first that applies is returned; the first three write nothing.
--   unknown_tenant  no such tenant
--   unknown_region  the region is no two capital letters
--   unchanged       the organizer is known, and as said
--   created         the organizer is known now
--   updated         the organizer was known, and is as said now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the organizer's row, and not the tenant's: a long list of organizers holds up no
--          call.
-- Raises:  23514 if the id, the name or the permission has no possible form.
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
DECLARE
    v_outcome text;
BEGIN
    IF NOT EXISTS (SELECT FROM tenant AS t WHERE t.tenant_id = p_tenant_id) THEN
        RETURN 'unknown_tenant';
    END IF;
    IF p_region !~ '^[A-Z]{2}$' THEN
        RETURN 'unknown_region';
    END IF;

    INSERT INTO organizer AS o (
        tenant_id, organizer_id, display_name, region, dial_out_permission
    )
    VALUES (p_tenant_id, p_organizer_id, p_display_name, p_region, p_dial_out_permission)
    ON CONFLICT (tenant_id, organizer_id) DO UPDATE
    SET
        display_name = excluded.display_name,
        region = excluded.region,
        dial_out_permission = excluded.dial_out_permission
    WHERE
        (o.display_name, o.region, o.dial_out_permission)
        <> (excluded.display_name, excluded.region, excluded.dial_out_permission)
    RETURNING CASE WHEN old.organizer_id IS null THEN 'created' ELSE 'updated' END
    INTO v_outcome;
    RETURN coalesce(v_outcome, 'unchanged');
END
$$;

-- organizer_put(tenant_id, organizer_id, display_name, region, dial_out_permission) -> outcome
--
-- Makes an organizer known, or changes one. Nobody moves to a country where a licence is not
-- sold that could be assigned before the move only: a forced one may go along.
--
-- Outcomes. The first that applies is returned; all but the last two write nothing.
--   unknown_tenant    no such tenant
--   unknown_region    the region is no two capital letters
--   unchanged         the organizer is known, and as said
--   licence_not_sold  the region is another one, and a licence that is valid now or later is
--                     not sold there and was not forced
--   created           the organizer is known now
--   updated           the organizer was known, and is as said now
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
    v_organizer organizer;
BEGIN
    IF NOT EXISTS (SELECT FROM tenant AS t WHERE t.tenant_id = p_tenant_id) THEN
        RETURN 'unknown_tenant';
    END IF;
    IF p_region !~ '^[A-Z]{2}$' THEN
        RETURN 'unknown_region';
    END IF;

    INSERT INTO organizer (
        tenant_id, organizer_id, display_name, region, dial_out_permission
    )
    VALUES (p_tenant_id, p_organizer_id, p_display_name, p_region, p_dial_out_permission)
    ON CONFLICT (tenant_id, organizer_id) DO NOTHING;
    IF found THEN
        RETURN 'created';
    END IF;
    SELECT o.* INTO STRICT v_organizer
    FROM organizer AS o
    WHERE o.tenant_id = p_tenant_id AND o.organizer_id = p_organizer_id
    FOR NO KEY UPDATE;
    IF (v_organizer.display_name, v_organizer.region, v_organizer.dial_out_permission)
        = (p_display_name, p_region, p_dial_out_permission) THEN
        RETURN 'unchanged';
    END IF;
    IF v_organizer.region <> p_region AND EXISTS (
        SELECT FROM licence AS l
        WHERE
            l.tenant_id = p_tenant_id AND l.organizer_id = p_organizer_id
            AND l.valid_to > now()
            AND l.forced_because IS null
            AND NOT sku_sold(p_tenant_id, l.sku, p_region)
    ) THEN
        RETURN 'licence_not_sold';
    END IF;

    -- From here on the change must succeed.
    UPDATE organizer AS o
    SET
        display_name = p_display_name,
        region = p_region,
        dial_out_permission = p_dial_out_permission
    WHERE o.tenant_id = p_tenant_id AND o.organizer_id = p_organizer_id;
    RETURN 'updated';
END
$$;

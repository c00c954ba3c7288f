-- prefix_put(tenant_id, prefix, effect, note) -> outcome
--
-- Lists a prefix, in digits, for a tenant; with a null tenant_id for all of them. `block`
-- refuses the numbers that begin with it; `exempt` lets a tenant call them although the
-- shipped list has them as high-risk ones.
--
-- Outcomes. The first that applies is returned; all but `put` write nothing.
--   unknown_tenant       no such tenant
--   exempt_needs_tenant  nobody is exempt for all tenants at once
--   exists               it is listed so, with this note
--   put                  it is listed now, or has this note now
--
-- Retries: safe. The second one gets `exists`.
-- Locks:   the prefix's row.
-- Raises:  23514 if the prefix, the effect or the note has no possible form.
CREATE OR REPLACE FUNCTION dialout.prefix_put(
    p_tenant_id uuid, p_prefix text, p_effect text, p_note text
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    IF p_tenant_id IS NOT null
        AND NOT EXISTS (SELECT FROM tenant AS t WHERE t.tenant_id = p_tenant_id)
    THEN
        RETURN 'unknown_tenant';
    END IF;
    IF p_tenant_id IS null AND p_effect <> 'block' THEN
        RETURN 'exempt_needs_tenant';
    END IF;

    IF p_tenant_id IS null THEN
        INSERT INTO operator_prefix AS b (prefix, note)
        VALUES (p_prefix, p_note)
        ON CONFLICT (prefix) DO UPDATE
        SET note = excluded.note
        WHERE b.note <> excluded.note;
    ELSE
        INSERT INTO tenant_prefix AS b (tenant_id, prefix, effect, note)
        VALUES (p_tenant_id, p_prefix, p_effect, p_note)
        ON CONFLICT (tenant_id, prefix, effect) DO UPDATE
        SET note = excluded.note
        WHERE b.note <> excluded.note;
    END IF;
    RETURN CASE WHEN found THEN 'put' ELSE 'exists' END;
END
$$;

-- limit_put(tenant_id, scope, subject, kind, most, mode) -> outcome
--
-- Sets a limit, from the next call on. An empty subject is the tenant itself, or the default
-- of all its organizers or meetings; null p_most is none, where the default is one.
--
-- Outcomes. The first that applies is returned; all but the last two write nothing.
--   unknown_tenant     no such tenant
--   unknown_organizer  the tenant has no such organizer
--   unchanged          the limit is this one
--   created            there was none of this kind, and this is one now
--   updated            it was another, and is this now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the limit's row.
-- Raises:  23514 if there is no such limit for this scope, or a value has no possible form.
CREATE OR REPLACE FUNCTION dialout.limit_put(
    p_tenant_id uuid, p_scope text, p_subject text, p_kind text, p_most bigint, p_mode text
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
    IF p_scope = 'organizer' AND p_subject <> '' AND NOT EXISTS (
        SELECT FROM organizer AS o
        WHERE o.tenant_id = p_tenant_id AND o.organizer_id = p_subject
    ) THEN
        RETURN 'unknown_organizer';
    END IF;

    INSERT INTO call_limit AS l (tenant_id, scope, subject, kind, most, mode)
    VALUES (p_tenant_id, p_scope, p_subject, p_kind, p_most, p_mode)
    ON CONFLICT (tenant_id, scope, subject, kind) DO UPDATE
    SET most = excluded.most, mode = excluded.mode
    WHERE (l.most, l.mode) IS DISTINCT FROM (excluded.most, excluded.mode)
    RETURNING CASE WHEN old.kind IS null THEN 'created' ELSE 'updated' END
    INTO v_outcome;
    RETURN coalesce(v_outcome, 'unchanged');
END
$$;

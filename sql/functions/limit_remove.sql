-- limit_remove(tenant_id, scope, subject, kind) -> outcome
--
-- Takes a limit away, from the next call on; what an organizer or a meeting had of its own is
-- the default again.
--
-- Outcomes. The first that applies is returned.
--   absent   there is no such limit; nothing is written
--   removed  there was, and is no more
--
-- Retries: safe. The second one gets `absent`.
-- Locks:   the limit's row.
CREATE OR REPLACE FUNCTION dialout.limit_remove(
    p_tenant_id uuid, p_scope text, p_subject text, p_kind text
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    DELETE FROM call_limit AS l
    WHERE
        l.tenant_id = p_tenant_id AND l.scope = p_scope AND l.subject = p_subject
        AND l.kind = p_kind;
    RETURN CASE WHEN found THEN 'removed' ELSE 'absent' END;
END
$$;

-- meeting_remove(tenant_id, conference_id) -> outcome
--
-- Takes a meeting's own permissions away: the tenant's choices hold for it again.
--
-- Outcomes. The first that applies is returned; the first writes nothing.
--   absent   the meeting has no permissions of its own
--   removed  it has none any more
--
-- Retries: safe. The second one gets `absent`.
-- Locks:   the meeting's row.
CREATE OR REPLACE FUNCTION dialout.meeting_remove(p_tenant_id uuid, p_conference_id text)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    DELETE FROM meeting AS m
    WHERE m.tenant_id = p_tenant_id AND m.conference_id = p_conference_id;
    RETURN CASE WHEN found THEN 'removed' ELSE 'absent' END;
END
$$;

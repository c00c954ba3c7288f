-- meeting_put(tenant_id, conference_id, to_self, to_third_party) -> outcome
--
-- Gives a meeting permissions of its own, or changes them.
--
-- Outcomes. The first that applies is returned; the first two write nothing.
--   unknown_tenant  no such tenant
--   unchanged       the meeting has these permissions
--   created         the meeting has permissions of its own now
--   updated         the meeting had others, and has these now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the meeting's row.
-- Raises:  23514 if the id or a permission has no possible form.
CREATE OR REPLACE FUNCTION dialout.meeting_put(
    p_tenant_id uuid, p_conference_id text, p_to_self text, p_to_third_party text
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

    INSERT INTO meeting AS m (tenant_id, conference_id, to_self, to_third_party)
    VALUES (p_tenant_id, p_conference_id, p_to_self, p_to_third_party)
    ON CONFLICT (tenant_id, conference_id) DO UPDATE
    SET to_self = excluded.to_self, to_third_party = excluded.to_third_party
    WHERE (m.to_self, m.to_third_party) <> (excluded.to_self, excluded.to_third_party)
    RETURNING CASE WHEN old.conference_id IS null THEN 'created' ELSE 'updated' END
    INTO v_outcome;
    RETURN coalesce(v_outcome, 'unchanged');
END
$$;

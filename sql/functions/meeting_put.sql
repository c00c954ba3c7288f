-- meeting_put(tenant_id, conference_id, to_self, to_third_party, organizer_id) -> outcome
--
-- Gives a meeting permissions of its own, or changes them; and says whose meeting it is, so that
-- nobody has another organizer pay for calls out of it. A null organizer_id leaves that open.
--
-- Outcomes. The first that applies is returned; the first three write nothing.
--   unknown_tenant     no such tenant
--   unknown_organizer  the tenant has no such organizer
--   unchanged          the meeting has these permissions and this organizer
--   created            the meeting has permissions of its own now
--   updated            the meeting had others, and has these now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the meeting's row.
-- Raises:  23514 if the id or a permission has no possible form.
CREATE OR REPLACE FUNCTION dialout.meeting_put(
    p_tenant_id uuid,
    p_conference_id text,
    p_to_self text,
    p_to_third_party text,
    p_organizer_id text
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
    IF p_organizer_id IS NOT null AND NOT EXISTS (
        SELECT FROM organizer AS o
        WHERE o.tenant_id = p_tenant_id AND o.organizer_id = p_organizer_id
    ) THEN
        RETURN 'unknown_organizer';
    END IF;

    INSERT INTO meeting AS m (tenant_id, conference_id, to_self, to_third_party, organizer_id)
    VALUES (p_tenant_id, p_conference_id, p_to_self, p_to_third_party, p_organizer_id)
    ON CONFLICT (tenant_id, conference_id) DO UPDATE
    SET
        to_self = excluded.to_self,
        to_third_party = excluded.to_third_party,
        organizer_id = excluded.organizer_id
    WHERE
        (m.to_self, m.to_third_party, m.organizer_id)
        IS DISTINCT FROM (excluded.to_self, excluded.to_third_party, excluded.organizer_id)
    RETURNING CASE WHEN old.conference_id IS null THEN 'created' ELSE 'updated' END
    INTO v_outcome;
    RETURN coalesce(v_outcome, 'unchanged');
END
$$;

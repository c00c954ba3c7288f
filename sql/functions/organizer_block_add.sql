-- organizer_block_add(tenant_id, organizer_id, blocked_by, reason, at) -> outcome
--
-- Blocks an organizer: no call is placed out of his meetings until somebody lifts it. Calls
-- that go on are not ended.
--
-- Outcomes. The first that applies is returned; all but `blocked` write nothing.
--   unknown_organizer  the tenant has no such organizer
--   exists             the organizer is blocked already; the first reason stands
--   blocked            the organizer is blocked now
--
-- Retries: safe. The second one gets `exists`.
-- Locks:   the block that is in force.
-- Raises:  23514 if the reason or the author has no possible form.
CREATE OR REPLACE FUNCTION dialout.organizer_block_add(
    p_tenant_id uuid, p_organizer_id text, p_blocked_by text, p_reason text, p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM organizer AS o
        WHERE o.tenant_id = p_tenant_id AND o.organizer_id = p_organizer_id
    ) THEN
        RETURN 'unknown_organizer';
    END IF;

    INSERT INTO organizer_block (tenant_id, organizer_id, at, blocked_by, reason)
    VALUES (p_tenant_id, p_organizer_id, p_at, p_blocked_by, p_reason)
    ON CONFLICT (tenant_id, organizer_id) WHERE lifted_at IS null DO NOTHING;
    RETURN CASE WHEN found THEN 'blocked' ELSE 'exists' END;
END
$$;

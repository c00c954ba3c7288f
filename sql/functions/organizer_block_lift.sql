-- organizer_block_lift(tenant_id, organizer_id, lifted_by, because, at) -> outcome
--
-- Lifts the block of an organizer. It stays on the list, with who lifted it and why.
--
-- Outcomes. The first that applies is returned; all but `lifted` write nothing.
--   unknown_organizer  the tenant has no such organizer
--   not_blocked        the organizer is not blocked
--   lifted             the organizer was blocked, and is no more
--
-- Retries: safe. The second one gets `not_blocked`.
-- Locks:   the block.
-- Raises:  23514 if the reason or the author has no possible form.
CREATE OR REPLACE FUNCTION dialout.organizer_block_lift(
    p_tenant_id uuid, p_organizer_id text, p_lifted_by text, p_because text, p_at timestamptz
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

    UPDATE organizer_block AS b
    SET lifted_at = p_at, lifted_by = p_lifted_by, lifted_because = p_because
    WHERE
        b.tenant_id = p_tenant_id AND b.organizer_id = p_organizer_id AND b.lifted_at IS null;
    RETURN CASE WHEN found THEN 'lifted' ELSE 'not_blocked' END;
END
$$;

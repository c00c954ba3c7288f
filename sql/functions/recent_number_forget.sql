-- recent_number_forget(tenant_id, initiator_id, destination) -> outcome
--
-- Forgets a number that a participant was called at, because the participant wants that; without
-- a destination, all of them.
--
-- Outcomes. The first that applies is returned.
--   absent   no such number is kept; nothing is written
--   removed  it is not kept any more
--
-- Retries: safe. The second one gets `absent`.
-- Locks:   the numbers.
CREATE OR REPLACE FUNCTION dialout.recent_number_forget(
    p_tenant_id uuid, p_initiator_id text, p_destination text
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    DELETE FROM recent_number AS n
    WHERE
        n.tenant_id = p_tenant_id AND n.initiator_id = p_initiator_id
        AND (n.destination = p_destination) IS NOT false;
    RETURN CASE WHEN found THEN 'removed' ELSE 'absent' END;
END
$$;

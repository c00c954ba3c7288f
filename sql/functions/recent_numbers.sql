-- recent_numbers(tenant_id, initiator_id) -> destination, number_typed, last_at
--
-- The numbers that a participant was called at and joined from, the last one first.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.recent_numbers(p_tenant_id uuid, p_initiator_id text)
RETURNS TABLE (destination text, number_typed text, last_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT n.destination, n.number_typed, n.last_at
    FROM recent_number AS n
    WHERE n.tenant_id = p_tenant_id AND n.initiator_id = p_initiator_id
    ORDER BY n.last_at DESC, n.destination
$$;

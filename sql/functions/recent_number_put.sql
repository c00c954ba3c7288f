-- recent_number_put(tenant_id, initiator_id, destination, number_typed, at)
--
-- Keeps the number that a participant was called at, to offer it again: the ten last ones.
--
-- Retries: safe.
-- Locks:   the number. Of those that are one too many, what somebody else holds is left to him.
CREATE OR REPLACE FUNCTION dialout.recent_number_put(
    p_tenant_id uuid,
    p_initiator_id text,
    p_destination text,
    p_number_typed text,
    p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_numbers_max integer := 10;
BEGIN
    INSERT INTO recent_number AS n (tenant_id, initiator_id, destination, number_typed, last_at)
    VALUES (p_tenant_id, p_initiator_id, p_destination, p_number_typed, p_at)
    ON CONFLICT (tenant_id, initiator_id, destination) DO UPDATE
    SET number_typed = excluded.number_typed, last_at = greatest(n.last_at, excluded.last_at);
    DELETE FROM recent_number AS n
    WHERE n.ctid = ANY(ARRAY(
        SELECT o.ctid
        FROM recent_number AS o
        WHERE o.tenant_id = p_tenant_id AND o.initiator_id = p_initiator_id
        ORDER BY o.last_at DESC, o.destination
        OFFSET v_numbers_max
        FOR UPDATE SKIP LOCKED
    ));
END
$$;

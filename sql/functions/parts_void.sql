-- parts_void(tenant_id, dial_out_id, at, kind)
--
-- Gives back all that is set aside for a dial-out and ends its reservations, by `void` or,
-- where nobody came for them in time, by `expire`.
--
-- Retries: none of its own; a step of void, which comes here once.
-- Locks:   the sources, in the order of their ids.
CREATE OR REPLACE FUNCTION dialout.parts_void(
    p_tenant_id uuid, p_dial_out_id uuid, p_at timestamptz, p_kind text
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_part record;
BEGIN
    PERFORM parts_lock(p_tenant_id, p_dial_out_id);
    FOR v_part IN
        SELECT
            p.source_id, p.slice, p.part,
            CASE s.unit WHEN 'seconds' THEN p.seconds ELSE p.micros END AS amount
        FROM reservation_part AS p
        INNER JOIN source AS s ON p.tenant_id = s.tenant_id AND p.source_id = s.source_id
        WHERE p.tenant_id = p_tenant_id AND p.dial_out_id = p_dial_out_id
        ORDER BY p.slice, p.part
    LOOP
        PERFORM entry_append(
            p_tenant_id, v_part.source_id, p_kind, p_at,
            p_reserved_delta => -v_part.amount,
            p_dial_out_id => p_dial_out_id, p_slice => v_part.slice, p_part => v_part.part
        );
    END LOOP;
    INSERT INTO reservation_end (tenant_id, dial_out_id, slice, kind, at)
    SELECT r.tenant_id, r.dial_out_id, r.slice, p_kind, p_at
    FROM reservation AS r
    WHERE r.tenant_id = p_tenant_id AND r.dial_out_id = p_dial_out_id;
END
$$;

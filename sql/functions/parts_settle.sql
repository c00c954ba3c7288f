-- parts_settle(tenant_id, dial_out_id, seconds, at)
--
-- Spreads the billed seconds over the parts of a call, in their order, books what each
-- source has paid, gives the rest of each back, and ends the reservations.
--
-- Retries: none of its own; a step of settle, which comes here once.
-- Locks:   the sources, in the order of their ids.
CREATE OR REPLACE FUNCTION dialout.parts_settle(
    p_tenant_id uuid, p_dial_out_id uuid, p_seconds integer, p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_part record;
    v_seconds integer;
    v_micros bigint;
    v_seconds_left integer := p_seconds;
BEGIN
    PERFORM parts_lock(p_tenant_id, p_dial_out_id);
    FOR v_part IN
        SELECT p.*, s.unit
        FROM reservation_part AS p
        INNER JOIN source AS s ON p.tenant_id = s.tenant_id AND p.source_id = s.source_id
        WHERE p.tenant_id = p_tenant_id AND p.dial_out_id = p_dial_out_id
        ORDER BY p.slice, p.part
    LOOP
        v_seconds := least(v_part.seconds, v_seconds_left);
        v_micros := charge_micros(v_seconds, v_part.rate);
        v_seconds_left := v_seconds_left - v_seconds;
        INSERT INTO settlement (tenant_id, dial_out_id, slice, part, seconds, micros)
        VALUES (p_tenant_id, p_dial_out_id, v_part.slice, v_part.part, v_seconds, v_micros);
        PERFORM entry_append(
            p_tenant_id, v_part.source_id, 'settle', p_at,
            p_used_delta => CASE v_part.unit WHEN 'seconds' THEN v_seconds ELSE v_micros END,
            p_reserved_delta =>
            CASE v_part.unit WHEN 'seconds' THEN -v_part.seconds ELSE -v_part.micros END,
            p_dial_out_id => p_dial_out_id, p_slice => v_part.slice, p_part => v_part.part
        );
    END LOOP;
    INSERT INTO reservation_end (tenant_id, dial_out_id, slice, kind, at)
    SELECT r.tenant_id, r.dial_out_id, r.slice, 'settle', p_at
    FROM reservation AS r
    WHERE r.tenant_id = p_tenant_id AND r.dial_out_id = p_dial_out_id;
END
$$;

-- is_released(gate_uniqueid, bridge) -> boolean
--
-- Tells whether the channel of this uniqueid, on this bridge, is the gate of a dial-out that is
-- under way: let dial, and not ended. The gate of a call that a gateway originated is named
-- by its key; that of an intercepted call is looked for among all that are open. A telephone
-- that has called in is on record in the same way, and may dial nothing.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.is_released(p_gate_uniqueid text, p_bridge text)
RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_tenant_id uuid;
    v_dial_out_id uuid;
BEGIN
    IF p_gate_uniqueid ~ '^[0-9a-f]{64}-gate$' THEN
        v_tenant_id := substr(p_gate_uniqueid, 1, 32)::uuid;
        v_dial_out_id := substr(p_gate_uniqueid, 33, 32)::uuid;
        RETURN EXISTS (
            SELECT FROM dial_out AS d
            WHERE
                d.tenant_id = v_tenant_id AND d.dial_out_id = v_dial_out_id
                AND d.requested_at = requested_at_of(v_tenant_id, v_dial_out_id)
                AND d.state IN ('released', 'answered') AND d.kind <> 'dial_in'
                AND d.gate_uniqueid = p_gate_uniqueid AND d.bridge = p_bridge
        );
    END IF;
    RETURN EXISTS (
        SELECT FROM dial_out AS d
        WHERE
            d.ended_at IS null AND d.expires_at IS NOT null
            AND d.state IN ('released', 'answered') AND d.kind <> 'dial_in'
            AND d.gate_uniqueid = p_gate_uniqueid AND d.bridge = p_bridge
    );
END
$$;

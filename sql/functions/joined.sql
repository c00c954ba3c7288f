-- joined(tenant_id, dial_out_id, at) -> outcome
--
-- Notes the instant at which the callee came into the conference; the first that is reported
-- stands. Where the callee had to press a key for that, the call was accepted. The number that a
-- participant had called is kept, to offer it again.
--
-- Outcomes. The first that applies is returned; all but `joined` write nothing.
--   joined            the instant is noted
--   unknown_dial_out  no such dial-out
--   exists            an instant is already noted
--   unclaimed         no channel was released for it, so nobody can have come by it
--   ended             it was refused, or has ended
--
-- Retries: safe.
-- Locks:   the dial-out, the callee, then the participant's numbers.
CREATE OR REPLACE FUNCTION dialout.joined(
    p_tenant_id uuid, p_dial_out_id uuid, p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_call dial_out;
    v_outcome text;
BEGIN
    SELECT d.* INTO v_call
    FROM dial_out AS d
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = requested_at_of(p_tenant_id, p_dial_out_id)
    FOR NO KEY UPDATE;
    v_outcome := CASE
        WHEN v_call.state IS null THEN 'unknown_dial_out'
        WHEN v_call.joined_at IS NOT null THEN 'exists'
        WHEN v_call.state = 'reserved' THEN 'unclaimed'
        WHEN v_call.state IN ('refused', 'ended') THEN 'ended'
        ELSE 'joined'
    END;
    IF v_outcome = 'joined' THEN
        UPDATE dial_out AS d
        SET joined_at = p_at
        WHERE
            d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
            AND d.requested_at = v_call.requested_at;
        IF v_call.confirms THEN
            PERFORM callee_accept(v_call.destination);
        END IF;
        IF v_call.kind = 'call_me' AND v_call.initiator_id IS NOT null THEN
            PERFORM recent_number_put(
                p_tenant_id, v_call.initiator_id, v_call.destination, v_call.number_typed, p_at
            );
        END IF;
    END IF;
    RETURN v_outcome;
END
$$;

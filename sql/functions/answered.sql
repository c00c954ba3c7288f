-- answered(tenant_id, dial_out_id, at) -> outcome
--
-- Notes the instant at which the telephone answered. The first that is reported stands,
-- until the call is settled with the evidence of its end.
--
-- Outcomes. The first that applies is returned; all but `answered` write nothing.
--   answered          the instant is noted
--   unknown_dial_out  no such dial-out
--   exists            an instant is already noted
--   unclaimed         no channel was released for it, so nothing can have answered
--   ended             it was refused or has ended
--
-- Retries: safe.
-- Locks:   the dial-out.
CREATE OR REPLACE FUNCTION dialout.answered(
    p_tenant_id uuid, p_dial_out_id uuid, p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_state text;
    v_requested_at timestamptz := requested_at_of(p_tenant_id, p_dial_out_id);
BEGIN
    UPDATE dial_out AS d
    SET state = 'answered', answered_at = p_at
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = v_requested_at
        AND d.state = 'released';
    IF found THEN
        RETURN 'answered';
    END IF;

    SELECT d.state INTO v_state
    FROM dial_out AS d
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = v_requested_at;
    RETURN CASE v_state
        WHEN 'answered' THEN 'exists'
        WHEN 'reserved' THEN 'unclaimed'
        WHEN 'refused' THEN 'ended'
        WHEN 'ended' THEN 'ended'
        ELSE 'unknown_dial_out'
    END;
END
$$;

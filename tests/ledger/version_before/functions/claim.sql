-- claim(tenant_id, dial_out_id, gate_uniqueid, at) -> outcome, destination, limit_seconds,
--                                                ring_seconds, caller_id, talk_seconds_max
--
-- Lets the one channel that reached the gate go on to the trunk, and says what it may dial
-- and for how long it may talk: to the limit for now, and never longer than the maximum,
-- however often the limit is moved.
-- One-shot: whatever arrives later with the same id, by mistake or by intent, gets nothing.
-- It is on the path of the call, so it is one update of one row by its key.
--
-- Outcomes. The first that applies is returned; all but `claimed` write nothing and
-- return no other column.
--   claimed           the channel may dial
--   unknown_dial_out  no such dial-out
--   refused           it was refused
--   ended             it has ended; voiding an unclaimed dial-out fences it
--   released          another visit of the gate has claimed it
--   expired           it is past expires_at
--
-- Retries: a retry gets `released`. A claim whose answer was lost is not dialled.
-- Locks:   the dial-out.
CREATE OR REPLACE FUNCTION dialout.claim(
    p_tenant_id uuid, p_dial_out_id uuid, p_gate_uniqueid text, p_at timestamptz
)
RETURNS TABLE (
    outcome text,
    destination text,
    limit_seconds integer,
    ring_seconds integer,
    caller_id text,
    talk_seconds_max integer
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_requested_at timestamptz := requested_at_of(p_tenant_id, p_dial_out_id);
BEGIN
    RETURN QUERY
    UPDATE dial_out AS d
    SET state = 'released', released_at = p_at, gate_uniqueid = p_gate_uniqueid
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = v_requested_at
        AND d.state = 'reserved' AND d.expires_at > p_at
    RETURNING
        'claimed', d.destination, d.limit_seconds, d.ring_seconds, d.caller_id,
        d.talk_seconds_max;
    IF found THEN
        RETURN;
    END IF;

    SELECT
        CASE d.state
            WHEN 'reserved' THEN 'expired'
            WHEN 'answered' THEN 'released'
            ELSE d.state
        END
    INTO outcome
    FROM dial_out AS d
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = v_requested_at;
    outcome := coalesce(outcome, 'unknown_dial_out');
    RETURN NEXT;
END
$$;

-- take_over(tenant_id, dial_out_id, gate_uniqueid, at, asterisk_booted_at)
--     -> outcome, destination, limit_seconds, ring_seconds, caller_id, talk_seconds_max
--
-- Lets a channel go on to the trunk whose own gateway has let it wait: that one has died, or is
-- too slow to be heard. It is the claim of a second gateway, and there is only one a dial-out:
-- whoever is third gets nothing, and so does the first one that comes later. What somebody has
-- seen of the release before says nothing of this one.
--
-- Outcomes. The first that applies is returned; all but `claimed` write nothing and return no
-- other column.
--   claimed           the channel may dial
--   unknown_dial_out  no such dial-out
--   refused           it was refused
--   ended             it has ended, or a telephone has answered
--   released          another channel has claimed it, or another gateway has taken it over
--   expired           nobody has claimed it, and it is past expires_at
--
-- Retries: a retry gets `released`. What was taken over without an answer is not dialled.
-- Locks:   the dial-out.
CREATE OR REPLACE FUNCTION dialout.take_over(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_gate_uniqueid text,
    p_at timestamptz,
    p_asterisk_booted_at timestamptz
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
    SET
        state = 'released', taken_over = true,
        released_at = p_at, gate_uniqueid = p_gate_uniqueid,
        asterisk_booted_at = p_asterisk_booted_at
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = v_requested_at
        AND d.kind <> 'dial_in' AND NOT d.taken_over
        AND (
            (d.state = 'reserved' AND d.expires_at > p_at)
            OR (d.state = 'released' AND d.gate_uniqueid = p_gate_uniqueid)
        )
    RETURNING
        'claimed', d.destination, d.limit_seconds, d.ring_seconds, d.caller_id,
        d.talk_seconds_max;
    IF found THEN
        RETURN;
    END IF;

    SELECT
        CASE d.state
            WHEN 'reserved' THEN 'expired'
            WHEN 'answered' THEN 'ended'
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

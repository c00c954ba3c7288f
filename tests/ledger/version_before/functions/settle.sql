-- settle(tenant_id, dial_out_id, answered_at, ended_at, hangup_cause, disposition, evidence)
--     -> outcome, record
--
-- Bills a call that was answered, from answer to hangup, and gives the rest back. Each second
-- is paid by the part that pays at the instant at which it begins, in their order, at the
-- rate that was copied when it was set aside.
--
-- Time is rounded up to a second, once, for the whole call. An answered call bills at least
-- one second, and so its initial increment, even if it lasted 0 ms: it is the answer that
-- the carrier charges for. Clocks that went backwards count as 0 ms, because a call that
-- could not be settled would keep its funds for ever. No call bills more than was set
-- aside: the whole seconds beyond are noted as overrun_seconds. They are what a tenant gets
-- that lets its calls finish, and telephones that call in and were let in without funds; any
-- other's are the gateway's fault.
--
-- Where somebody has stayed at the telephone, its number may be called again.
--
-- Outcomes. The first that applies is returned; all but `settled` write nothing.
--   unknown_dial_out  no such dial-out; no record
--   exists            it was refused or has ended
--   unclaimed         no channel was released for it, so this evidence is not about it
--   settled           the call is billed and has ended
--
-- Retries: safe. The second one gets `exists`, whatever it says.
-- Locks:   the dial-out, its sources in the order of their ids, the chain, the callee, then what
--          counts against limits.
CREATE OR REPLACE FUNCTION dialout.settle(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_answered_at timestamptz,
    p_ended_at timestamptz,
    p_hangup_cause integer,
    p_disposition text,
    p_evidence text
)
RETURNS TABLE (outcome text, record dial_out_record)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_requested_at timestamptz := requested_at_of(p_tenant_id, p_dial_out_id);
    v_state text;
    v_talk_seconds integer;
    v_parts part[];
    v_seconds integer[];
    v_billable_seconds integer;
BEGIN
    SELECT d.state, d.talk_seconds INTO v_state, v_talk_seconds
    FROM dial_out AS d
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = v_requested_at
    FOR NO KEY UPDATE;
    outcome := CASE v_state
        WHEN 'refused' THEN 'exists'
        WHEN 'ended' THEN 'exists'
        WHEN 'reserved' THEN 'unclaimed'
        WHEN 'released' THEN 'settled'
        WHEN 'answered' THEN 'settled'
        ELSE 'unknown_dial_out'
    END;

    IF outcome = 'settled' THEN
        -- From here on the settlement must succeed.
        v_parts := parts_of(p_tenant_id, p_dial_out_id, v_requested_at);
        v_seconds := parts_walk(
            v_parts,
            p_answered_at,
            least(
                greatest(1, ceil(extract(EPOCH FROM p_ended_at - p_answered_at))), v_talk_seconds
            )::integer
        );
        SELECT coalesce(sum(s), 0) INTO v_billable_seconds FROM unnest(v_seconds) AS s;
        PERFORM parts_settle(
            p_tenant_id, p_dial_out_id, v_requested_at, v_parts, v_seconds, p_ended_at
        );
        UPDATE dial_out AS d
        SET
            state = 'ended',
            answered_at = p_answered_at,
            ended_at = p_ended_at,
            disposition = p_disposition,
            hangup_cause = p_hangup_cause,
            billable_seconds = v_billable_seconds,
            overrun_seconds = least(
                2147483647,
                greatest(
                    0, floor(extract(EPOCH FROM p_ended_at - p_answered_at)) - v_billable_seconds
                )
            ),
            evidence = p_evidence
        WHERE
            d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
            AND d.requested_at = v_requested_at;
        PERFORM callee_stayed(d.destination, p_answered_at, d.seen_at, p_ended_at)
        FROM dial_out AS d
        WHERE
            d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
            AND d.requested_at = v_requested_at
            AND NOT d.confirms;
        PERFORM limits_leave(p_tenant_id, p_dial_out_id, v_requested_at);
    END IF;
    SELECT r.* INTO record
    FROM dial_out_record AS r
    WHERE
        r.tenant_id = p_tenant_id AND r.dial_out_id = p_dial_out_id
        AND r.requested_at = v_requested_at;
    RETURN NEXT;
END
$$;

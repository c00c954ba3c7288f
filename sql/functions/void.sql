-- void(tenant_id, dial_out_id, at, hangup_cause, disposition, only_if_unclaimed, evidence,
--      latest_end, released_at) -> outcome, record
--
-- Ends a dial-out that nobody answered and gives everything back. With only_if_unclaimed it
-- is the fence: either no channel has been released, and none ever will be, or the caller
-- learns that it came too late.
--
-- Where nothing proves that nobody answered, somebody may have, from the release to latest_end:
-- that is recorded and never billed. With released_at it is that release which came to nothing:
-- whoever was let dial since is let be. A gateway of before knows neither and gives none.
--
-- Outcomes. The first that applies is returned; all but `voided` write nothing.
--   unknown_dial_out  no such dial-out; no record
--   exists            it was refused or has ended
--   released          only_if_unclaimed, and a channel has claimed it; or it was released at
--                     another instant than released_at
--   answered          the telephone has answered: only settle may end it, because seconds
--                     that somebody saw are never given away
--   voided            everything is given back
--
-- Retries: safe. The second one gets `exists`.
-- Locks:   the dial-out, then its sources in the order of their ids, then the chain.
DROP FUNCTION IF EXISTS dialout.void(uuid, uuid, timestamptz, integer, text, boolean, text);

CREATE OR REPLACE FUNCTION dialout.void(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_at timestamptz,
    p_hangup_cause integer,
    p_disposition text,
    p_only_if_unclaimed boolean,
    p_evidence text,
    p_latest_end timestamptz DEFAULT null,
    p_released_at timestamptz DEFAULT null
)
RETURNS TABLE (outcome text, record dial_out_record)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_state text;
    v_expires_at timestamptz;
    v_released_at timestamptz;
    v_requested_at timestamptz := requested_at_of(p_tenant_id, p_dial_out_id);
BEGIN
    SELECT d.state, d.expires_at, d.released_at INTO v_state, v_expires_at, v_released_at
    FROM dial_out AS d
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = v_requested_at
    FOR NO KEY UPDATE;
    outcome := CASE
        WHEN v_state IS null THEN 'unknown_dial_out'
        WHEN v_state IN ('refused', 'ended') THEN 'exists'
        WHEN v_state <> 'reserved' AND p_only_if_unclaimed IS NOT FALSE THEN 'released'
        WHEN p_released_at <> v_released_at THEN 'released'
        WHEN v_state = 'answered' THEN 'answered'
        ELSE 'voided'
    END;

    IF outcome = 'voided' THEN
        -- From here on the voiding must succeed.
        PERFORM parts_void(
            p_tenant_id, p_dial_out_id, v_requested_at, p_at,
            CASE WHEN v_state = 'reserved' AND v_expires_at <= p_at THEN 'expire' ELSE 'void' END
        );
        UPDATE dial_out AS d
        SET
            state = 'ended',
            ended_at = p_at,
            disposition = p_disposition,
            hangup_cause = p_hangup_cause,
            billable_seconds = 0,
            overrun_seconds = 0,
            evidence = p_evidence,
            least_seconds = 0,
            most_seconds = CASE
                WHEN p_latest_end IS null OR d.released_at IS null THEN 0
                ELSE least(begun_seconds(d.released_at, p_latest_end), d.limit_seconds)
            END,
            unproved = CASE WHEN p_latest_end IS NOT null THEN 'least' END
        WHERE
            d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
            AND d.requested_at = v_requested_at;
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

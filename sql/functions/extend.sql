-- extend(tenant_id, dial_out_id, slice, at) -> outcome, slices, talk_seconds, limit_seconds, more
--
-- Sets aside the next slice of a call that goes on, from the sources that were asked for the
-- first one, in their order, each for what it has now. p_slice is how many slices the caller
-- knows of: asked again with the same number, nothing more is set aside.
--
-- talk_seconds is how long the call is paid for, limit_seconds when Asterisk may cut it, both
-- counted from the answer. `more` says whether asking again could bring more.
--
-- When nothing is left, a call that may finish may go on to its maximum, unpaid: what it
-- lasts beyond is booked as overrun. Any other is cut when its time is used up.
--
-- Outcomes. The first that applies is returned; only the last two write.
--   unknown_dial_out  no such dial-out; no other column
--   ended             it was refused or has ended; no other column
--   unanswered        nobody has answered, so no second of it has passed
--   exists            it has more slices than the caller knows of
--   longest           it may last no longer
--   exhausted         the sources have nothing left
--   extended          it is paid for longer
--
-- Retries: safe. The number of the slice is the idempotency key.
-- Locks:   the dial-out, the tenant's row, the sources in the order of their ids, the chain.
CREATE OR REPLACE FUNCTION dialout.extend(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_slice integer,
    p_at timestamptz,
    OUT outcome text,
    OUT slices integer,
    OUT talk_seconds integer,
    OUT limit_seconds integer,
    OUT more boolean
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_call dial_out;
    v_parts part[];
    v_begins integer;
    v_seconds integer;
    v_left record;
    v_funding funding;
    v_micros bigint := 0;
BEGIN
    SELECT d.* INTO v_call
    FROM dial_out AS d
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = requested_at_of(p_tenant_id, p_dial_out_id)
    FOR NO KEY UPDATE;
    outcome := CASE
        WHEN v_call.state IS null THEN 'unknown_dial_out'
        WHEN v_call.state IN ('refused', 'ended') THEN 'ended'
        WHEN v_call.state <> 'answered' THEN 'unanswered'
        WHEN p_slice < v_call.slices THEN 'exists'
        WHEN v_call.talk_seconds >= v_call.talk_seconds_max THEN 'longest'
    END;
    IF outcome IN ('unknown_dial_out', 'ended') THEN
        RETURN;
    END IF;

    slices := v_call.slices;
    talk_seconds := v_call.talk_seconds;
    limit_seconds := v_call.limit_seconds;
    IF outcome IS null THEN
        PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
        v_parts := parts_of(p_tenant_id, p_dial_out_id, v_call.requested_at);
        -- Now that the answer is known, so is what the slices before pay for.
        v_begins := greatest(
            v_call.talk_seconds,
            parts_reach(v_parts, v_call.answered_at, v_call.talk_seconds_max)
        );
        SELECT l.* INTO STRICT v_left
        FROM limits_left(
            p_tenant_id, v_call.organizer_id, v_call.conference_id, null, v_call.asked_kinds,
            v_call.rate, 0, v_call.requested_at, v_call.kind
        ) AS l;
        v_begins := least(v_begins, v_call.talk_seconds + v_left.seconds);
        v_seconds := least(
            v_call.slice_seconds, v_call.talk_seconds_max - v_begins,
            v_call.talk_seconds + v_left.seconds - v_begins
        );
        v_funding := fund(
            p_tenant_id, v_call.organizer_id, v_call.asked_kinds, v_call.asked_benefits,
            v_call.rate, v_call.destination, v_call.region, v_call.requested_at, v_seconds,
            v_call.answered_at + make_interval(secs => v_begins),
            v_call.answered_at + make_interval(secs => v_begins),
            v_parts, v_left.micros, p_at
        );
        talk_seconds := v_begins + v_funding.seconds;
        limit_seconds := CASE
            WHEN
                v_funding.seconds < v_seconds AND v_call.may_finish
                AND (v_call.kind = 'dial_in' OR num_nonnulls(v_left.seconds, v_left.micros) = 0)
                THEN v_call.talk_seconds_max
            ELSE greatest(talk_seconds, v_call.limit_seconds)
        END;
        outcome := CASE
            WHEN talk_seconds > v_call.talk_seconds THEN 'extended' ELSE 'exhausted'
        END;
        IF v_funding.seconds > 0 THEN
            slices := v_call.slices + 1;
            PERFORM slice_append(
                p_tenant_id, p_dial_out_id, v_call.requested_at, slices, v_funding, p_at
            );
            SELECT sum(p.micros) INTO v_micros FROM unnest(v_funding.parts) AS p;
        END IF;
        UPDATE dial_out AS d
        SET
            slices = extend.slices,
            talk_seconds = extend.talk_seconds,
            limit_seconds = extend.limit_seconds
        WHERE
            d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
            AND d.requested_at = v_call.requested_at;
        PERFORM limits_count(
            v_call, 0, talk_seconds - v_call.talk_seconds, v_micros
        );
    END IF;
    more := limit_seconds < v_call.talk_seconds_max;
END
$$;

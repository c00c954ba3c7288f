-- reserve(tenant_id, dial_out_id, request, number, sources, benefits, rate, terms,
--         explanation, at, expires_at, gate_uniqueid, may_finish, bridge, meeting_name,
--         cool_down) -> outcome, record
--
-- Sets aside the first slice of what one dial-out may cost, before any channel exists; extend
-- adds to it while the call lasts. The sources are asked in the order given, each for what it
-- has: a call is split where a source ends. Whatever is set aside is ended once, in settle or
-- void. Beside the kind of each source stands its benefit, which credits have none of; an
-- add-on is the organizer's.
--
-- The call is cut when what was set aside is used up, unless nothing more is left, the tenant
-- lets calls finish and this one is of a kind that may: then it may go on to talk_seconds_max,
-- unpaid. What each source had is recorded.
--
-- One function and not three statements, because the check and the write must see the same
-- balance: between a SELECT and an UPDATE sent by a client, a second call could pass the
-- same check, and both would be dialled.
--
-- The bridge is the one that is to place the call. Whether the callee must press a key before
-- joining is the tenant's choice; one who came by a dialplan of his own is past that.
--
-- With a gate_uniqueid the dial-out is released at once, to that channel: it came by the
-- intercept and is waiting already.
--
-- A telephone that calls in has the kind dial_in. It does not ring, and may withhold its number;
-- of the limits only those on money hold for it. One with talk_seconds_min 0 needs no funds: it
-- may be without sources, and go on unpaid to talk_seconds_max.
--
-- Outcomes. The first that applies is returned; the first two write nothing.
--   exists                       this request is already recorded; the record says how
--   exists_with_different_terms  another request has this id
--   refused                      the organizer is blocked; or a limit is reached, or leaves too
--                                little; or the sources together cover less than
--                                talk_seconds_min, and the last one that was asked is to
--                                blame; or the callee is left alone, whoever asks. The
--                                refusal is recorded
--   reserved                     the funds are set aside, and may be given back unclaimed
--                                after expires_at
--
-- Retries: safe. The dial-out's id is the idempotency key.
-- Locks:   the tenant's row, the sources in the order of their ids, the chain, the callee, then
--          what counts against limits. One tenant's requests queue; tenants wait for each other
--          only to call the same number.
-- Raises:  22023 if the seconds or the sources make no sense; P0002 if there is no such
--          tenant, which policy refuses before, or no such benefit in force. All are bugs in
--          the caller.
CREATE OR REPLACE FUNCTION dialout.reserve(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_kind text,
    p_organizer_id text,
    p_initiator_id text,
    p_conference_id text,
    p_number_typed text,
    p_destination text,
    p_region text,
    p_number_kind text,
    p_sources text[],
    p_benefits text[],
    p_rate rate_terms,
    p_talk_seconds_max integer,
    p_talk_seconds_min integer,
    p_slice_seconds integer,
    p_ring_seconds integer,
    p_caller_id text,
    p_explanation json,
    p_at timestamptz,
    p_expires_at timestamptz,
    p_gate_uniqueid text,
    p_may_finish boolean,
    p_bridge text,
    p_meeting_name text,
    p_cool_down cool_down
)
RETURNS TABLE (outcome text, record dial_out_record)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_policy tenant_policy;
    v_slice_seconds integer := least(
        p_talk_seconds_max, greatest(p_slice_seconds, p_talk_seconds_min)
    );
    v_left record;
    v_may_finish boolean;
    v_funding funding;
    v_standing json;
    v_is_limited boolean;
BEGIN
    IF (
        p_talk_seconds_min
        BETWEEN CASE p_kind WHEN 'dial_in' THEN 0 ELSE 1 END AND p_talk_seconds_max
        AND p_talk_seconds_max <= 86400
        AND p_slice_seconds > 0
        AND p_expires_at > p_at
        AND (cardinality(p_sources) > 0 OR p_talk_seconds_min = 0)
        AND (p_kind = 'dial_in' OR p_talk_seconds_min > 0)
        AND cardinality(p_benefits) = cardinality(p_sources)
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'terms that no call can have' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT c.* INTO STRICT v_policy
    FROM tenant AS t
    INNER JOIN tenant_policy AS c ON t.tenant_id = c.tenant_id
    WHERE t.tenant_id = p_tenant_id
    FOR NO KEY UPDATE OF t;

    RETURN QUERY SELECT * FROM request_stored(
        p_tenant_id, p_dial_out_id,
        p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed
    );
    IF found THEN
        RETURN;
    END IF;

    SELECT l.* INTO STRICT v_left
    FROM limits_left(
        p_tenant_id, p_organizer_id, p_conference_id,
        CASE WHEN p_talk_seconds_min > 0 THEN p_destination END,
        p_sources, p_rate, p_talk_seconds_min, p_at, p_kind
    ) AS l;
    IF v_left.reason IS NOT null THEN
        RETURN QUERY SELECT * FROM refuse(
            p_tenant_id, p_dial_out_id,
            p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed,
            p_destination, p_region, p_number_kind,
            v_left.reason, p_explanation, p_at, p_bridge, null, v_left.blocks
        );
        RETURN;
    END IF;
    v_slice_seconds := least(v_slice_seconds, v_left.seconds);
    -- What a limit bounds is cut there: it would be none if calls could go on unpaid.
    v_may_finish := p_talk_seconds_min = 0 OR (
        p_may_finish AND v_policy.on_exhaustion = 'finish'
        AND num_nonnulls(v_left.seconds, v_left.micros) = 0
    );
    v_funding := fund(
        p_tenant_id, p_organizer_id, p_sources, p_benefits, p_rate, p_destination, p_region,
        p_at, v_slice_seconds, p_at,
        p_expires_at + make_interval(secs => coalesce(p_ring_seconds, 0)),
        '{}', v_left.micros, p_at
    );
    v_standing := sources_standing(
        p_tenant_id, p_sources, p_benefits, v_funding.asked, v_funding.parts, p_at
    );
    IF v_funding.seconds < p_talk_seconds_min THEN
        v_is_limited := v_left.micros IS NOT null AND p_talk_seconds_min <= (
            SELECT f.seconds
            FROM fund(
                p_tenant_id, p_organizer_id, p_sources, p_benefits, p_rate, p_destination,
                p_region, p_at, p_talk_seconds_min, p_at,
                p_expires_at + make_interval(secs => coalesce(p_ring_seconds, 0)),
                '{}', null, p_at
            ) AS f
        );
        RETURN QUERY SELECT * FROM refuse(
            p_tenant_id, p_dial_out_id,
            p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed,
            p_destination, p_region, p_number_kind,
            CASE
                WHEN v_is_limited THEN v_left.micros_reason
                ELSE p_sources[cardinality(p_sources)] || '_exhausted'
            END,
            p_explanation, p_at, p_bridge, v_standing, v_is_limited AND v_left.micros_blocks
        );
        RETURN;
    END IF;

    -- What is locked from here on, whoever holds it does not wait for a callee.
    PERFORM chain_lock(p_tenant_id, date_trunc('month', p_at, 'UTC'));
    IF NOT callee_enter(p_destination, p_cool_down, p_at) THEN
        RETURN QUERY SELECT * FROM refuse(
            p_tenant_id, p_dial_out_id,
            p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed,
            p_destination, p_region, p_number_kind,
            'callee_cooling_down', p_explanation, p_at, p_bridge, v_standing, false
        );
        RETURN;
    END IF;

    -- From here on the reservation must succeed.
    INSERT INTO dial_out (
        tenant_id, dial_out_id, requested_at,
        kind, organizer_id, initiator_id, conference_id, number_typed,
        state, destination, region, number_kind, expires_at, released_at, gate_uniqueid,
        asked_kinds, asked_benefits, rate, may_finish,
        talk_seconds_max, slice_seconds, slices, talk_seconds, limit_seconds,
        ring_seconds, caller_id, explanation, sources,
        bridge, meeting_name, confirms
    )
    VALUES (
        p_tenant_id, p_dial_out_id, p_at,
        p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed,
        CASE WHEN p_gate_uniqueid IS null THEN 'reserved' ELSE 'released' END,
        p_destination, p_region, p_number_kind, p_expires_at,
        CASE WHEN p_gate_uniqueid IS NOT null THEN p_at END, p_gate_uniqueid,
        p_sources, p_benefits, p_rate, v_may_finish,
        p_talk_seconds_max, p_slice_seconds, 1, v_funding.seconds,
        CASE
            WHEN v_funding.seconds < v_slice_seconds AND v_may_finish THEN p_talk_seconds_max
            ELSE v_funding.seconds
        END,
        p_ring_seconds, p_caller_id, p_explanation, v_standing,
        p_bridge, p_meeting_name,
        CASE v_policy.confirmation
            WHEN 'call_me' THEN p_kind = 'call_me'
            WHEN 'always' THEN p_kind IN ('call_me', 'add_participant', 'keypad')
            ELSE false
        END
    );
    PERFORM slice_append(p_tenant_id, p_dial_out_id, p_at, 1, v_funding, p_at);
    PERFORM limits_enter(
        p_tenant_id, p_kind, p_organizer_id, p_conference_id, p_destination,
        'addon' = ANY(p_sources),
        v_funding.seconds,
        (SELECT coalesce(sum(p.micros), 0) FROM unnest(v_funding.parts) AS p)::bigint,
        p_at
    );
    RETURN QUERY
    SELECT 'reserved', r
    FROM dial_out_record AS r
    WHERE
        r.tenant_id = p_tenant_id AND r.dial_out_id = p_dial_out_id AND r.requested_at = p_at;
END
$$;

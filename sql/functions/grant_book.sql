-- grant_book(tenant_id, dial_out_id, request, number, sources, benefits, terms, explanation, at,
--            expires_at, gate_uniqueid, bridge, meeting_name, confirms, cool_down)
--     -> outcome, record
--
-- Makes the dial-out of a call that was placed under a grant while the ledger was away, as of
-- the instant at which it was granted. It was released then: the call may be up, or over. The
-- sources are asked for the seconds that were granted, each for what it has. Nothing is refused
-- any more, so whatever they lack the call has had all the same: settle notes it as overrun.
-- What counts against limits is counted, and so is the attempt to call that number.
--
-- A benefit that is not in force at that instant, whatever was known of it, gives nothing. From
-- then on the call is as any other: it is extended from the sources that have paid for it.
--
-- Outcomes. The first that applies is returned; the first two write nothing.
--   exists_with_different_terms  another request has this id
--   exists                       it is booked, or was decided without a grant by a gateway that
--                                reached the ledger; the record says how
--   released                     it was reserved, by a request whose answer was lost, and
--                                nobody has claimed it: it is released to the granted channel
--   booked                       the dial-out is made
--
-- Retries: safe. The dial-out's id is the idempotency key.
-- Locks:   as reserve.
-- Raises:  22023 if the seconds make no sense, or a source is one that may run out; P0002 if
--          there is no such tenant. Bugs in the caller.
CREATE OR REPLACE FUNCTION dialout.grant_book(
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
    p_granted_seconds integer,
    p_talk_seconds_max integer,
    p_slice_seconds integer,
    p_ring_seconds integer,
    p_caller_id text,
    p_explanation json,
    p_at timestamptz,
    p_expires_at timestamptz,
    p_gate_uniqueid text,
    p_bridge text,
    p_meeting_name text,
    p_confirms boolean,
    p_cool_down cool_down
)
RETURNS TABLE (outcome text, record dial_out_record)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_policy tenant_policy;
    v_stored record;
    v_sources text[];
    v_benefits text[];
    v_funding funding;
    v_standing json;
BEGIN
    IF (
        p_granted_seconds BETWEEN 1 AND p_talk_seconds_max
        AND p_talk_seconds_max <= 86400
        AND p_slice_seconds > 0
        AND p_kind <> 'dial_in'
        AND p_sources <@ ARRAY['addon', 'promotion']
        AND cardinality(p_benefits) = cardinality(p_sources)
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'terms that no grant can have' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT c.* INTO STRICT v_policy
    FROM tenant AS t
    INNER JOIN tenant_policy AS c ON t.tenant_id = c.tenant_id
    WHERE t.tenant_id = p_tenant_id
    FOR NO KEY UPDATE OF t;

    SELECT s.* INTO v_stored
    FROM request_stored(
        p_tenant_id, p_dial_out_id,
        p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed
    ) AS s;
    IF v_stored.outcome IS NOT null THEN
        outcome := v_stored.outcome;
        IF outcome = 'exists' THEN
            UPDATE dial_out AS d
            SET state = 'released', released_at = p_at, gate_uniqueid = p_gate_uniqueid
            WHERE
                d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
                AND d.requested_at = requested_at_of(p_tenant_id, p_dial_out_id)
                AND d.state = 'reserved';
            IF found THEN
                outcome := 'released';
            END IF;
        END IF;
    ELSE
        SELECT
            coalesce(array_agg(k.kind ORDER BY k.place), '{}'),
            coalesce(array_agg(k.benefit_id ORDER BY k.place), '{}')
        INTO v_sources, v_benefits
        FROM unnest(
            p_sources, p_benefits,
            sources_open(p_tenant_id, p_organizer_id, p_sources, p_benefits, p_at)
        ) WITH ORDINALITY AS k (kind, benefit_id, source_id, place)
        WHERE k.source_id IS NOT null;
        v_funding := fund(
            p_tenant_id, p_organizer_id, v_sources, v_benefits, null, p_destination, p_region,
            p_at, p_granted_seconds, p_at, p_at + make_interval(secs => p_ring_seconds),
            '{}', null, p_at
        );
        v_standing := sources_standing(
            p_tenant_id, v_sources, v_benefits, v_funding.asked, v_funding.parts, p_at
        );
        IF v_funding.seconds = 0 THEN
            v_funding.parts := '{}';
            v_funding.draws := '{}';
            v_sources := '{}';
            v_benefits := '{}';
        END IF;
        PERFORM chain_lock(p_tenant_id, date_trunc('month', p_at, 'UTC'));
        PERFORM callee_enter(p_destination, p_cool_down, p_at);

        INSERT INTO dial_out (
            tenant_id, dial_out_id, requested_at,
            kind, organizer_id, initiator_id, conference_id, number_typed,
            state, destination, region, number_kind, expires_at, released_at, gate_uniqueid,
            asked_kinds, asked_benefits, rate, may_finish,
            talk_seconds_max, slice_seconds, slices, talk_seconds, limit_seconds,
            ring_seconds, caller_id, explanation, sources,
            bridge, meeting_name, confirms, granted
        )
        VALUES (
            p_tenant_id, p_dial_out_id, p_at,
            p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed,
            'released', p_destination, p_region, p_number_kind, p_expires_at, p_at,
            p_gate_uniqueid,
            v_sources, v_benefits, null, v_policy.on_exhaustion = 'finish',
            p_talk_seconds_max, p_slice_seconds, 1, v_funding.seconds, p_granted_seconds,
            p_ring_seconds, p_caller_id, p_explanation, v_standing,
            p_bridge, p_meeting_name, p_confirms, true
        );
        PERFORM slice_append(p_tenant_id, p_dial_out_id, p_at, 1, v_funding, p_at);
        PERFORM limits_enter(
            p_tenant_id, p_kind, p_organizer_id, p_conference_id, p_destination,
            'addon' = ANY(v_sources), v_funding.seconds, 0, p_at
        );
        outcome := 'booked';
    END IF;
    SELECT r.* INTO record
    FROM dial_out_record AS r
    WHERE
        r.tenant_id = p_tenant_id AND r.dial_out_id = p_dial_out_id
        AND r.requested_at = requested_at_of(p_tenant_id, p_dial_out_id);
    RETURN NEXT;
END
$$;

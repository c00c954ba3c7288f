-- reserve(tenant_id, dial_out_id, request, number, sources, benefits, rate, terms,
--         explanation, at, expires_at, gate_uniqueid, may_finish) -> outcome, record
--
-- Sets aside what one dial-out may cost, before any channel exists. The sources are asked
-- in the order given, each for what it has, up to talk_seconds_max in all: a call is split
-- where a source ends. Every reservation ends once, in settle or void. Beside the kind of
-- each source stands its benefit, which credits have none of; an add-on is the organizer's.
--
-- The call is cut when what was set aside is used up, unless the tenant lets calls finish
-- and this one is of a kind that may: then it may go on to talk_seconds_max, unpaid. What
-- each source had is recorded.
--
-- One function and not three statements, because the check and the write must see the same
-- balance: between a SELECT and an UPDATE sent by a client, a second call could pass the
-- same check, and both would be dialled.
--
-- With a gate_uniqueid the dial-out is released at once, to that channel: it came by the
-- intercept and is waiting already.
--
-- Outcomes. The first that applies is returned; the first two write nothing.
--   exists                       this request is already recorded; the record says how
--   exists_with_different_terms  another request has this id
--   refused                      the sources together cover less than talk_seconds_min; the
--                                refusal is recorded, for the last source that was asked
--   reserved                     the funds are set aside, and may be given back unclaimed
--                                after expires_at
--
-- Retries: safe. The dial-out's id is the idempotency key.
-- Locks:   the tenant's row, then the sources in the order of their ids. One tenant's
--          requests queue; tenants never wait for each other.
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
    p_ring_seconds integer,
    p_caller_id text,
    p_explanation json,
    p_at timestamptz,
    p_expires_at timestamptz,
    p_gate_uniqueid text,
    p_may_finish boolean
)
RETURNS TABLE (outcome text, record dial_out_record)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_time_zone text;
    v_on_exhaustion text;
    v_source_ids uuid[];
    v_standing json;
    v_parts part_proposal[];
    v_talk_seconds integer;
BEGIN
    IF (
        p_talk_seconds_min BETWEEN 1 AND p_talk_seconds_max
        AND p_talk_seconds_max <= 86400
        AND p_expires_at > p_at
        AND cardinality(p_sources) > 0
        AND cardinality(p_benefits) = cardinality(p_sources)
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'terms that no call can have' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT t.time_zone, c.on_exhaustion INTO STRICT v_time_zone, v_on_exhaustion
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

    v_source_ids := sources_open(
        p_tenant_id, v_time_zone, p_organizer_id, p_sources, p_benefits, p_at
    );
    v_parts := fund(p_tenant_id, v_source_ids, p_talk_seconds_max, p_rate, p_at);
    v_standing := sources_standing(p_tenant_id, v_source_ids, v_parts);
    SELECT coalesce(sum(p.seconds), 0) INTO v_talk_seconds FROM unnest(v_parts) AS p;
    IF v_talk_seconds < p_talk_seconds_min THEN
        RETURN QUERY SELECT * FROM refuse(
            p_tenant_id, p_dial_out_id,
            p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed,
            p_destination, p_region, p_number_kind,
            p_sources[cardinality(p_sources)] || '_exhausted', p_explanation, p_at, v_standing
        );
        RETURN;
    END IF;

    -- From here on the reservation must succeed.
    INSERT INTO dial_out (
        tenant_id, dial_out_id,
        kind, organizer_id, initiator_id, conference_id, number_typed,
        state, destination, region, number_kind, requested_at, expires_at, released_at,
        talk_seconds, limit_seconds, ring_seconds, caller_id, gate_uniqueid, explanation, sources
    )
    VALUES (
        p_tenant_id, p_dial_out_id,
        p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed,
        CASE WHEN p_gate_uniqueid IS null THEN 'reserved' ELSE 'released' END,
        p_destination, p_region, p_number_kind, p_at, p_expires_at,
        CASE WHEN p_gate_uniqueid IS NOT null THEN p_at END,
        v_talk_seconds,
        CASE
            WHEN v_on_exhaustion = 'finish' AND p_may_finish THEN p_talk_seconds_max
            ELSE v_talk_seconds
        END,
        p_ring_seconds, p_caller_id, p_gate_uniqueid, p_explanation, v_standing
    );
    PERFORM slice_append(p_tenant_id, p_dial_out_id, 1::smallint, v_parts, p_rate, p_at);
    RETURN QUERY
    SELECT 'reserved', r
    FROM dial_out_record AS r
    WHERE r.tenant_id = p_tenant_id AND r.dial_out_id = p_dial_out_id;
END
$$;

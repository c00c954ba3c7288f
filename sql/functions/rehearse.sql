-- rehearse(tenant_id, organizer_id, conference_id, sources, benefits, rate, talk_seconds_max,
--          talk_seconds_min, slice_seconds, destination, region, at, may_finish, cool_down)
--     -> outcome, reason, talk_seconds, limit_seconds, sources
--
-- What reserve would do with a call, and no trace of it: reserve itself runs, and what it
-- wrote and locked is rolled back. So an explanation can never tell another story than the
-- call.
--
-- Outcomes. The first that applies is returned; none writes anything.
--   refused   for this reason; there are no seconds
--   reserved  for so many seconds; there is no reason
--
-- Retries: safe.
-- Locks:   as reserve, until it returns.
-- Raises:  as reserve.
CREATE OR REPLACE FUNCTION dialout.rehearse(
    p_tenant_id uuid,
    p_organizer_id text,
    p_conference_id text,
    p_sources text[],
    p_benefits text[],
    p_rate rate_terms,
    p_talk_seconds_max integer,
    p_talk_seconds_min integer,
    p_slice_seconds integer,
    p_destination text,
    p_region text,
    p_at timestamptz,
    p_may_finish boolean,
    p_cool_down cool_down,
    OUT outcome text,
    OUT reason text,
    OUT talk_seconds integer,
    OUT limit_seconds integer,
    OUT sources json
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    SELECT
        r.outcome,
        (r.record).reason,
        (r.record).talk_seconds,
        (r.record).limit_seconds,
        (r.record).sources::json
    INTO STRICT outcome, reason, talk_seconds, limit_seconds, sources
    FROM reserve(
        p_tenant_id => p_tenant_id,
        p_dial_out_id => uuidv7(),
        p_kind => 'add_participant',
        p_organizer_id => p_organizer_id,
        p_initiator_id => null,
        p_conference_id => p_conference_id,
        p_number_typed => 'rehearsal',
        p_destination => p_destination,
        p_region => p_region,
        p_number_kind => 'rehearsal',
        p_sources => p_sources,
        p_benefits => p_benefits,
        p_rate => p_rate,
        p_talk_seconds_max => p_talk_seconds_max,
        p_talk_seconds_min => p_talk_seconds_min,
        p_slice_seconds => p_slice_seconds,
        p_ring_seconds => 1,
        p_caller_id => '+10000000',
        p_explanation => 'null',
        p_at => p_at,
        p_expires_at => p_at + interval '1 second',
        p_gate_uniqueid => null,
        p_may_finish => p_may_finish,
        p_bridge => 'rehearsal',
        p_meeting_name => null,
        p_cool_down => p_cool_down
    ) AS r;
    -- The variables outlive the rollback; nothing else does.
    RAISE EXCEPTION 'a rehearsal' USING ERRCODE = 'DO001';
EXCEPTION WHEN SQLSTATE 'DO001' THEN
    null;
END
$$;

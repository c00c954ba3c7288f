-- dropped(tenant_id, dial_out_id, reason, at) -> outcome
--
-- Notes that a call was ended at an instant because its meeting had left it behind, and what
-- that saved at most: the seconds up to its maximum, and what they would have cost at the
-- rate that it was paying then. A source that is counted in seconds costs no money.
--
-- Outcomes. The first that applies is returned; all but `dropped` write nothing.
--   unknown_dial_out  no such dial-out
--   unanswered        nobody has answered, so it cost nothing and saved nothing
--   exists            it is noted already
--   dropped           it is noted
--
-- Retries: safe. The first note stands.
-- Locks:   none but the new row's.
CREATE OR REPLACE FUNCTION dialout.dropped(
    p_tenant_id uuid, p_dial_out_id uuid, p_reason text, p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_call dial_out;
    v_parts part[];
    v_lasted_seconds integer;
    v_saved_seconds integer;
    v_paying integer;
    v_rate rate_terms;
BEGIN
    SELECT d.* INTO v_call
    FROM dial_out AS d
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = requested_at_of(p_tenant_id, p_dial_out_id);
    IF v_call.state IS null THEN
        RETURN 'unknown_dial_out';
    ELSIF v_call.answered_at IS null THEN
        RETURN 'unanswered';
    END IF;

    v_lasted_seconds := least(
        greatest(1, ceil(extract(EPOCH FROM p_at - v_call.answered_at))), v_call.talk_seconds_max
    );
    v_saved_seconds := v_call.talk_seconds_max - v_lasted_seconds;
    v_parts := parts_of(p_tenant_id, p_dial_out_id, v_call.requested_at);
    SELECT max(w.place) INTO v_paying
    FROM unnest(parts_walk(v_parts, v_call.answered_at, v_lasted_seconds))
    WITH ORDINALITY AS w (seconds, place)
    WHERE w.seconds > 0;
    v_rate := v_parts[v_paying].rate;
    INSERT INTO dropped_call (tenant_id, dial_out_id, reason, at, saved_seconds, saved_micros)
    VALUES (
        p_tenant_id, p_dial_out_id, p_reason, p_at, v_saved_seconds,
        charge_micros(v_call.talk_seconds_max, v_rate) - charge_micros(v_lasted_seconds, v_rate)
    )
    ON CONFLICT DO NOTHING;
    RETURN CASE WHEN found THEN 'dropped' ELSE 'exists' END;
END
$$;

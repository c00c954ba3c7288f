-- limits_count(dial_out, calls, seconds, micros)
--
-- Changes what counts of a call that was entered: more is set aside for it, or it has ended
-- and the rest is given back. It counts where it was entered: in the day and the month in
-- which it was asked for. Where that is forgotten, nothing is counted. Of a telephone that calls
-- in, only the money counts.
--
-- Retries: none of its own; a step of extend, settle and void, which come here once each.
-- Locks:   the counts, the tenant's before the organizer's.
CREATE OR REPLACE FUNCTION dialout.limits_count(
    p_dial_out dial_out, p_calls integer, p_seconds integer, p_micros bigint
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_tenant_id uuid := p_dial_out.tenant_id;
    v_day date := local_day(v_tenant_id, p_dial_out.requested_at);
    v_calls_in boolean := p_dial_out.kind = 'dial_in';
    v_seconds integer := CASE WHEN v_calls_in THEN 0 ELSE p_seconds END;
    v_whose text;
BEGIN
    -- One after the other, because an update of both would lock them in any order.
    FOREACH v_whose IN ARRAY ARRAY['', p_dial_out.organizer_id] LOOP
        UPDATE limit_now AS n
        SET open_calls = n.open_calls + p_calls
        WHERE n.tenant_id = v_tenant_id AND n.organizer_id = v_whose
            AND p_calls <> 0 AND NOT v_calls_in;
    END LOOP;
    FOREACH v_whose IN ARRAY ARRAY['', p_dial_out.organizer_id] LOOP
        UPDATE limit_day AS d
        SET micros = d.micros + p_micros
        WHERE
            d.tenant_id = v_tenant_id AND d.day = v_day AND d.organizer_id = v_whose
            AND p_micros <> 0;
    END LOOP;
    UPDATE meeting_day AS m
    SET seconds = m.seconds + v_seconds, micros = m.micros + p_micros
    WHERE
        m.tenant_id = v_tenant_id AND m.day = v_day
        AND m.conference_id = p_dial_out.conference_id
        AND (v_seconds, p_micros) <> (0, 0);
    IF 'addon' = ANY(p_dial_out.asked_kinds) AND p_seconds <> 0 THEN
        UPDATE addon_month AS a
        SET seconds = a.seconds + p_seconds
        WHERE
            a.tenant_id = v_tenant_id AND a.organizer_id = p_dial_out.organizer_id
            AND a.from_at = addon_month_from(v_tenant_id, p_dial_out.requested_at);
    END IF;
END
$$;

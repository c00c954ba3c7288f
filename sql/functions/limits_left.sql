-- limits_left(tenant_id, organizer_id, conference_id, destination, kinds, rate, seconds_min,
--             at, dial_out_kind)
--     -> reason, blocks, seconds, micros, micros_reason, micros_blocks
--
-- What the limits leave to a call that asks the sources of p_kinds, under the tenant's lock: so
-- that of two calls only one takes the last of it. Limits that observe leave everything.
--
-- The reason is why the call may not begin: its organizer is blocked, or the first limit that
-- is reached; null if it may. blocks says whether the organizer is to be blocked. Seconds and
-- micros bound what may be set aside for it, null is no bound; micros_reason is what is to
-- blame if that money is too little. Money bounds credits alone: where minutes may pay, they
-- may pay beyond it. Without a p_destination a call goes on that has begun, or that needs no
-- funds, and only what is set aside is looked at. A telephone that calls in is bounded by money
-- alone.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.limits_left(
    p_tenant_id uuid,
    p_organizer_id text,
    p_conference_id text,
    p_destination text,
    p_kinds text[],
    p_rate rate_terms,
    p_seconds_min integer,
    p_at timestamptz,
    p_dial_out_kind text,
    OUT reason text,
    OUT blocks boolean,
    OUT seconds bigint,
    OUT micros bigint,
    OUT micros_reason text,
    OUT micros_blocks boolean
)
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_day date := local_day(p_tenant_id, p_at);
    v_limit record;
    v_is_reached boolean;
BEGIN
    IF EXISTS (
        SELECT FROM organizer_block AS b
        WHERE
            b.tenant_id = p_tenant_id AND b.organizer_id = p_organizer_id AND b.lifted_at IS null
    ) THEN
        reason := CASE WHEN p_destination IS NOT null THEN 'organizer_blocked' END;
    END IF;
    FOR v_limit IN
        SELECT l.*, greatest(0, l.most - l.used) AS rest
        FROM limits_standing(p_tenant_id, p_organizer_id, p_conference_id, p_at) AS l
        WHERE
            l.mode <> 'observe'
            AND (p_dial_out_kind <> 'dial_in' OR l.kind IN ('spend_a_day', 'meeting_spend'))
    LOOP
        v_is_reached := false;
        CASE v_limit.kind
            WHEN 'concurrent_calls', 'calls_a_minute' THEN
                v_is_reached := v_limit.rest = 0;
            WHEN 'callees_a_day' THEN
                v_is_reached := v_limit.rest = 0 AND NOT EXISTS (
                    SELECT FROM callee_day AS c
                    WHERE
                        c.tenant_id = p_tenant_id AND c.day = v_day
                        AND c.organizer_id
                        = CASE v_limit.scope WHEN 'tenant' THEN '' ELSE p_organizer_id END
                        AND c.callee = p_destination
                );
            WHEN 'price' THEN
                v_is_reached := 'credits' = ANY(p_kinds)
                    AND (p_rate).price_micros > v_limit.most;
            WHEN 'spend_a_day', 'meeting_spend' THEN
                IF micros IS null OR v_limit.rest < micros THEN
                    micros := v_limit.rest;
                    micros_reason := 'limit_' || v_limit.kind;
                    micros_blocks := v_limit.mode = 'block';
                END IF;
                v_is_reached := v_limit.rest = 0 AND p_kinds = ARRAY['credits'];
            WHEN 'meeting_time', 'fair_use' THEN
                IF v_limit.kind = 'meeting_time' OR 'addon' = ANY(p_kinds) THEN
                    seconds := least(seconds, v_limit.rest);
                    v_is_reached := v_limit.rest < p_seconds_min;
                END IF;
        END CASE;
        IF reason IS null AND v_is_reached AND p_destination IS NOT null THEN
            reason := 'limit_' || v_limit.kind;
            blocks := v_limit.mode = 'block';
        END IF;
    END LOOP;
END
$$;

-- limits_enter(tenant_id, kind, organizer_id, conference_id, destination, is_addon, seconds,
--              micros, at)
--
-- Counts a new call, and what is set aside for it, against the limits: whether there are any
-- or not, so that one that is set at noon knows of the morning. is_addon says that the add-on
-- covers it, whoever pays. Each new callee takes the places of some that are long past. Of a
-- telephone that calls in, only the money counts.
--
-- Retries: none of its own; a step of reserve, which comes here once.
-- Locks:   the counts, the tenant's before the organizer's. The caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.limits_enter(
    p_tenant_id uuid,
    p_kind text,
    p_organizer_id text,
    p_conference_id text,
    p_destination text,
    p_is_addon boolean,
    p_seconds integer,
    p_micros bigint,
    p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_day date := local_day(p_tenant_id, p_at);
    v_minute timestamptz := date_trunc('minute', p_at, 'UTC');
    v_calls_out boolean := p_kind <> 'dial_in';
BEGIN
    -- The clocks of two gateways may differ: a minute that has begun is not gone back from.
    INSERT INTO limit_now AS n (tenant_id, organizer_id, open_calls, minute_at, minute_calls)
    SELECT p_tenant_id, w.organizer_id, 1, v_minute, 1
    FROM (VALUES (''), (p_organizer_id)) AS w (organizer_id)
    WHERE v_calls_out
    ORDER BY w.organizer_id
    ON CONFLICT (tenant_id, organizer_id) DO UPDATE
    SET
        open_calls = n.open_calls + 1,
        minute_at = greatest(n.minute_at, v_minute),
        minute_calls = CASE WHEN n.minute_at >= v_minute THEN n.minute_calls ELSE 0 END + 1;

    WITH new_callee AS (
        INSERT INTO callee_day AS c (tenant_id, day, organizer_id, callee)
        SELECT p_tenant_id, v_day, w.organizer_id, p_destination
        FROM (VALUES (''), (p_organizer_id)) AS w (organizer_id)
        WHERE v_calls_out
        ON CONFLICT DO NOTHING
        RETURNING c.organizer_id
    )

    INSERT INTO limit_day AS d (tenant_id, day, organizer_id, callees, micros)
    SELECT p_tenant_id, v_day, w.organizer_id, count(c.organizer_id), p_micros
    FROM (VALUES (''), (p_organizer_id)) AS w (organizer_id)
    LEFT JOIN new_callee AS c ON w.organizer_id = c.organizer_id
    GROUP BY w.organizer_id
    ORDER BY w.organizer_id
    ON CONFLICT (tenant_id, day, organizer_id) DO UPDATE
    SET callees = d.callees + excluded.callees, micros = d.micros + excluded.micros;

    INSERT INTO meeting_day AS m (tenant_id, day, conference_id, seconds, micros)
    VALUES (
        p_tenant_id, v_day, p_conference_id, CASE WHEN v_calls_out THEN p_seconds ELSE 0 END,
        p_micros
    )
    ON CONFLICT (tenant_id, day, conference_id) DO UPDATE
    SET seconds = m.seconds + excluded.seconds, micros = m.micros + excluded.micros;

    IF p_is_addon THEN
        INSERT INTO addon_month AS a (tenant_id, organizer_id, from_at, seconds)
        VALUES (
            p_tenant_id, p_organizer_id, addon_month_from(p_tenant_id, p_at), p_seconds
        )
        ON CONFLICT (tenant_id, organizer_id, from_at) DO UPDATE
        SET seconds = a.seconds + excluded.seconds;
    END IF;
    PERFORM limits_forget(p_tenant_id, v_day);
END
$$;

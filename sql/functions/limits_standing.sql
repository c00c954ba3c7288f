-- limits_standing(tenant_id, organizer_id, conference_id, at) -> kind, scope, mode, most, used
--
-- The limits that are in force for a call, in the order in which they are asked, and how much
-- of each is used at p_at or set aside: by the tenant, the organizer, the meeting. What an
-- organizer or a meeting has of its own stands for the default of all of them.
--
-- Each count is a row of its own that is found by its key: however many calls a day has had,
-- to look costs the same. A minute is one of the clock, a day one of the tenant's time zone,
-- a month the tenant's. A count of a day that is long past is forgotten, and is 0.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.limits_standing(
    p_tenant_id uuid, p_organizer_id text, p_conference_id text, p_at timestamptz
)
RETURNS TABLE (kind text, scope text, mode text, most bigint, used bigint)
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    WITH own AS (
        SELECT DISTINCT ON (l.kind, l.scope)
            l.kind,
            l.scope,
            l.mode,
            l.most,
            CASE l.scope WHEN 'tenant' THEN '' ELSE p_organizer_id END AS organizer_id
        FROM call_limit AS l
        WHERE
            l.tenant_id = p_tenant_id
            AND l.subject IN ('', CASE l.scope
                WHEN 'organizer' THEN p_organizer_id
                WHEN 'meeting' THEN p_conference_id
            END)
        ORDER BY l.kind, l.scope, l.subject DESC
    )

    SELECT
        o.kind,
        o.scope,
        o.mode,
        o.most,
        coalesce(
            CASE o.kind
                WHEN 'concurrent_calls' THEN (
                    SELECT n.open_calls
                    FROM limit_now AS n
                    WHERE n.tenant_id = p_tenant_id AND n.organizer_id = o.organizer_id
                )
                WHEN 'calls_a_minute' THEN (
                    SELECT n.minute_calls
                    FROM limit_now AS n
                    WHERE
                        n.tenant_id = p_tenant_id AND n.organizer_id = o.organizer_id
                        AND n.minute_at >= date_trunc('minute', p_at, 'UTC')
                )
                WHEN 'callees_a_day' THEN (
                    SELECT d.callees
                    FROM limit_day AS d
                    WHERE
                        d.tenant_id = p_tenant_id AND d.day = local_day(p_tenant_id, p_at)
                        AND d.organizer_id = o.organizer_id
                )
                WHEN 'spend_a_day' THEN (
                    SELECT d.micros
                    FROM limit_day AS d
                    WHERE
                        d.tenant_id = p_tenant_id AND d.day = local_day(p_tenant_id, p_at)
                        AND d.organizer_id = o.organizer_id
                )
                WHEN 'meeting_time' THEN (
                    SELECT m.seconds
                    FROM meeting_day AS m
                    WHERE
                        m.tenant_id = p_tenant_id AND m.day = local_day(p_tenant_id, p_at)
                        AND m.conference_id = p_conference_id
                )
                WHEN 'meeting_spend' THEN (
                    SELECT m.micros
                    FROM meeting_day AS m
                    WHERE
                        m.tenant_id = p_tenant_id AND m.day = local_day(p_tenant_id, p_at)
                        AND m.conference_id = p_conference_id
                )
                WHEN 'price' THEN 0
                ELSE (
                    SELECT a.seconds
                    FROM addon_month AS a
                    WHERE
                        a.tenant_id = p_tenant_id AND a.organizer_id = p_organizer_id
                        AND a.from_at = addon_month_from(p_tenant_id, p_at)
                )
            END,
            0
        )
    FROM own AS o
    WHERE o.most IS NOT null
    ORDER BY
        array_position(
            ARRAY[
                'concurrent_calls', 'calls_a_minute', 'callees_a_day', 'price', 'spend_a_day',
                'meeting_time', 'meeting_spend', 'fair_use', 'fair_use_notice'
            ],
            o.kind
        ),
        o.scope DESC
$$;

-- outbox_sweep(limit, at)
--
-- Tells what comes about by time alone, and so with no call to tell it: lots that lapse within
-- 30 days, and recharges that are due because a lot has lapsed or a backoff is over. At most
-- p_limit of each; the rest is for the next sweep.
--
-- Retries: safe.
-- Locks:   the rows of tenants whose recharge is due; one that somebody else holds is left to
--          him, or to the next sweep.
CREATE OR REPLACE FUNCTION dialout.outbox_sweep(p_limit integer, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_tenant_id uuid;
BEGIN
    PERFORM event_append(
        s.tenant_id, 'credits.expiring', s.source_id,
        jsonb_build_object(
            'source_id', s.source_id,
            'currency', s.currency,
            'unused_micros', s.granted - s.used,
            'expires_at', s.valid_to
        ),
        p_at
    )
    FROM source AS s
    WHERE
        s.kind = 'credits'
        AND s.valid_to > p_at
        AND s.valid_to <= p_at + interval '30 days'
        AND s.used < s.granted
        AND NOT EXISTS (
            SELECT FROM event AS e
            WHERE
                e.tenant_id = s.tenant_id
                AND e.kind = 'credits.expiring'
                AND e.subject_id = s.source_id
        )
    LIMIT p_limit;
    FOR v_tenant_id IN
        SELECT t.tenant_id
        FROM recharges_due(p_at) AS d
        INNER JOIN tenant AS t ON d.tenant_id = t.tenant_id
        WHERE NOT t.suspended
        LIMIT p_limit
        FOR NO KEY UPDATE OF t SKIP LOCKED
    LOOP
        PERFORM recharge_request(v_tenant_id, p_at);
    END LOOP;
END
$$;

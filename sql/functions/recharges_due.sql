-- recharges_due(at) -> tenant_id, amount_micros, trigger_micros
--
-- The tenants for whom a recharge is to be asked for: the balance of all lots that have not
-- lapsed is below the trigger, no recharge is open, and none has failed so recently that asking
-- again would only fail again.
--
-- It sets no search path, so that it becomes part of the statement that asks: for one tenant it
-- looks at that one, and for all of them it is one statement over all.
--
-- Retries: reads only.
CREATE OR REPLACE FUNCTION dialout.recharges_due(p_at timestamptz)
RETURNS TABLE (tenant_id uuid, amount_micros bigint, trigger_micros bigint)
LANGUAGE sql STABLE
AS $$
    SELECT a.tenant_id, a.amount_micros, a.trigger_micros
    FROM dialout.auto_recharge AS a
    WHERE
        a.trigger_micros > (
            SELECT coalesce(sum(s.free), 0)
            FROM dialout.source AS s
            WHERE
                s.tenant_id = a.tenant_id AND s.kind = 'credits'
                AND s.valid_from <= p_at AND p_at < s.valid_to
        )
        AND NOT EXISTS (
            SELECT FROM dialout.recharge AS r
            WHERE
                r.tenant_id = a.tenant_id
                AND (
                    r.state = 'open'
                    OR (
                        r.state = 'failed'
                        AND r.ended_at > p_at - make_interval(secs => a.backoff_seconds)
                    )
                )
        )
$$;

-- lot_bought(tenant_id, source_id, grant_id, micros, at)
--
-- What follows from funds that were bought: the new lot gets the tenant's trigger, and if they
-- answer a recharge, that has ended. So it has if it was said to have failed: the money is there.
--
-- Retries: none of its own; a step of credits_add, which comes here once for each grant.
-- Locks:   the lot, which is new, and the recharge. The caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.lot_bought(
    p_tenant_id uuid, p_source_id uuid, p_grant_id uuid, p_micros bigint, p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    UPDATE source AS s
    SET recharge_below = a.trigger_micros
    FROM auto_recharge AS a
    WHERE
        s.tenant_id = p_tenant_id AND s.source_id = p_source_id AND a.tenant_id = p_tenant_id;
    UPDATE recharge AS r
    SET state = 'recharged', ended_at = p_at, because = null
    WHERE r.tenant_id = p_tenant_id AND r.recharge_id = p_grant_id;
    IF found THEN
        PERFORM event_append(
            p_tenant_id, 'credits.recharged', p_grant_id,
            jsonb_build_object(
                'recharge_id', p_grant_id,
                'amount_micros', p_micros,
                'currency', c.currency,
                'free_micros', c.free_micros
            ),
            p_at
        )
        FROM credits_standing(p_tenant_id, p_at) AS c;
    END IF;
END
$$;

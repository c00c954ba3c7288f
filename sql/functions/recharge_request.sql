-- recharge_request(tenant_id, at)
--
-- Asks the payment system to recharge a tenant's credits, if that is due. It answers by adding
-- funds under the recharge's id, or by saying that it failed.
--
-- Retries: safe. No second recharge is asked for while one is open.
-- Locks:   none of its own. The caller holds the tenant's row, so that balance and recharges
--          stand still; should one not, the index of open recharges has the last word, because
--          nothing here may stop a call.
CREATE OR REPLACE FUNCTION dialout.recharge_request(p_tenant_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_due record;
    v_recharge_id uuid;
BEGIN
    SELECT d.* INTO v_due FROM recharges_due(p_at) AS d WHERE d.tenant_id = p_tenant_id;
    IF NOT found THEN
        RETURN;
    END IF;
    INSERT INTO recharge (tenant_id, amount_micros, requested_at)
    VALUES (p_tenant_id, v_due.amount_micros, p_at)
    ON CONFLICT (tenant_id) WHERE state = 'open' DO NOTHING
    RETURNING recharge_id INTO v_recharge_id;
    IF NOT found THEN
        RETURN;
    END IF;
    PERFORM event_append(
        p_tenant_id, 'credits.recharge_due', v_recharge_id,
        jsonb_build_object(
            'recharge_id', v_recharge_id,
            'amount_micros', v_due.amount_micros,
            'trigger_micros', v_due.trigger_micros,
            'currency', c.currency,
            'free_micros', c.free_micros
        ),
        p_at
    )
    FROM credits_standing(p_tenant_id, p_at) AS c;
END
$$;

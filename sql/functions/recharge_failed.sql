-- recharge_failed(tenant_id, recharge_id, because, at) -> outcome
--
-- Records that the payment system could not recharge a tenant's credits, and why. The next
-- recharge is asked for once the tenant's backoff is over, if the balance is still low.
--
-- Outcomes. The first that applies is returned; all but `failed` write nothing.
--   unknown_tenant     no such tenant
--   unknown_recharge   nothing was asked for under this id
--   already_recharged  the funds were added
--   exists             it is recorded as failed
--   failed             it is recorded now
--
-- Retries: safe. The first reason stands.
-- Locks:   the tenant's row, then the recharge.
-- Raises:  23514 if the reason is missing or too long.
CREATE OR REPLACE FUNCTION dialout.recharge_failed(
    p_tenant_id uuid, p_recharge_id uuid, p_because text, p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_recharge recharge;
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    SELECT r.* INTO v_recharge
    FROM recharge AS r
    WHERE r.tenant_id = p_tenant_id AND r.recharge_id = p_recharge_id;
    CASE v_recharge.state
        WHEN 'recharged' THEN RETURN 'already_recharged';
        WHEN 'failed' THEN RETURN 'exists';
        WHEN 'open' THEN null;
        ELSE RETURN 'unknown_recharge';
    END CASE;

    -- From here on the failure must be recorded.
    UPDATE recharge AS r
    SET state = 'failed', ended_at = p_at, because = p_because
    WHERE r.tenant_id = p_tenant_id AND r.recharge_id = p_recharge_id;
    PERFORM event_append(
        p_tenant_id, 'credits.recharge_failed', p_recharge_id,
        jsonb_build_object(
            'recharge_id', p_recharge_id,
            'amount_micros', v_recharge.amount_micros,
            'because', p_because,
            'currency', c.currency,
            'free_micros', c.free_micros
        ),
        p_at
    )
    FROM credits_standing(p_tenant_id, p_at) AS c;
    RETURN 'failed';
END
$$;

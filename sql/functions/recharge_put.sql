-- recharge_put(tenant_id, amount_micros, trigger_micros, backoff_seconds, at) -> outcome
--
-- Has a tenant's credits recharged from now on, by that amount whenever the balance is below
-- the trigger; so at once, if it is. After a failure nothing is asked for during the backoff.
--
-- Outcomes. The first that applies is returned; the first two write nothing.
--   unknown_tenant  no such tenant
--   unchanged       it is so already
--   changed         it was so on other terms
--   put             it is so now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the tenant's row, then its lots in the order of their ids.
-- Raises:  23502 or 23514 if the sums or the seconds have no possible form.
CREATE OR REPLACE FUNCTION dialout.recharge_put(
    p_tenant_id uuid,
    p_amount_micros bigint,
    p_trigger_micros bigint,
    p_backoff_seconds integer,
    p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_terms auto_recharge := ROW(
        p_tenant_id, p_amount_micros, p_trigger_micros, p_backoff_seconds
    );
    v_stored auto_recharge;
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    SELECT a.* INTO v_stored FROM auto_recharge AS a WHERE a.tenant_id = p_tenant_id;
    IF v_stored = v_terms THEN
        RETURN 'unchanged';
    END IF;

    -- From here on the change must succeed.
    INSERT INTO auto_recharge SELECT v_terms.*
    ON CONFLICT (tenant_id) DO UPDATE
    SET
        amount_micros = excluded.amount_micros,
        trigger_micros = excluded.trigger_micros,
        backoff_seconds = excluded.backoff_seconds;
    PERFORM recharge_mark(p_tenant_id, p_trigger_micros);
    PERFORM recharge_request(p_tenant_id, p_at);
    RETURN CASE WHEN v_stored.tenant_id IS null THEN 'put' ELSE 'changed' END;
END
$$;

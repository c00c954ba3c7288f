-- credits_add(tenant_id, grant_id, micros, at) -> outcome
--
-- Adds bought funds to a tenant's credits, in the tenant's currency: a lot of their own, which
-- lapses twelve months later, by the tenant's calendar. The first addition is what sets
-- credits up. Funds under the id of a recharge answer it.
--
-- Outcomes. The first that applies is returned; all but `added` write nothing.
--   unknown_tenant               no such tenant
--   exists                       these funds were added before
--   exists_with_different_terms  other funds were added under this grant_id
--   added                        the funds are there
--
-- Retries: safe. grant_id is the idempotency key, chosen by whoever took the money.
-- Locks:   the tenant's row, then the chain.
-- Raises:  22023 if micros is not positive, or more than a thousand million units. That is
--          a bug in the caller.
CREATE OR REPLACE FUNCTION dialout.credits_add(
    p_tenant_id uuid, p_grant_id uuid, p_micros bigint, p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_tenant tenant;
    v_stored_micros bigint;
    v_source_id uuid;
BEGIN
    IF (p_micros BETWEEN 1 AND 1000000000000000 AND p_grant_id IS NOT null) IS NOT TRUE THEN
        RAISE EXCEPTION 'no such sum' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT t.* INTO v_tenant
    FROM tenant AS t
    WHERE t.tenant_id = p_tenant_id
    FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    SELECT g.micros INTO v_stored_micros
    FROM credit_grant AS g
    WHERE g.tenant_id = p_tenant_id AND g.grant_id = p_grant_id;
    IF found THEN
        RETURN CASE v_stored_micros
            WHEN p_micros THEN 'exists' ELSE 'exists_with_different_terms'
        END;
    END IF;

    -- From here on the addition must succeed.
    INSERT INTO source (tenant_id, kind, unit, currency, valid_from, valid_to)
    VALUES (
        p_tenant_id, 'credits', 'micros', v_tenant.currency, p_at,
        (p_at AT TIME ZONE v_tenant.time_zone + interval '1 year') AT TIME ZONE v_tenant.time_zone
    )
    RETURNING source_id INTO v_source_id;
    INSERT INTO credit_grant (tenant_id, grant_id, source_id, micros, at)
    VALUES (p_tenant_id, p_grant_id, v_source_id, p_micros, p_at);
    PERFORM entry_append(
        p_tenant_id, v_source_id, 'grant', p_at, p_at, p_granted_delta => p_micros
    );
    PERFORM lot_bought(p_tenant_id, v_source_id, p_grant_id, p_micros, p_at);
    RETURN 'added';
END
$$;

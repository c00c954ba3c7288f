-- credits_add(tenant_id, grant_id, micros, at) -> outcome
--
-- Adds bought funds to a tenant's credits, in the tenant's currency. The first addition is
-- what sets credits up.
--
-- Outcomes. The first that applies is returned; all but `added` write nothing.
--   unknown_tenant               no such tenant
--   exists                       these funds were added before
--   exists_with_different_terms  other funds were added under this grant_id
--   added                        the funds are there
--
-- Retries: safe. grant_id is the idempotency key, chosen by whoever took the money.
-- Locks:   the tenant's row, then the credits.
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
    v_currency text;
    v_stored_micros bigint;
    v_source_id uuid;
BEGIN
    IF (p_micros BETWEEN 1 AND 1000000000000000 AND p_grant_id IS NOT null) IS NOT TRUE THEN
        RAISE EXCEPTION 'no such sum' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT t.currency INTO v_currency
    FROM tenant AS t
    WHERE t.tenant_id = p_tenant_id
    FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    SELECT e.granted_delta INTO v_stored_micros
    FROM entry AS e
    WHERE e.tenant_id = p_tenant_id AND e.grant_id = p_grant_id;
    IF found THEN
        RETURN CASE v_stored_micros
            WHEN p_micros THEN 'exists' ELSE 'exists_with_different_terms'
        END;
    END IF;

    -- From here on the addition must succeed.
    INSERT INTO source (tenant_id, kind, unit, currency, valid_from, valid_to)
    VALUES (p_tenant_id, 'credits', 'micros', v_currency, '-infinity', 'infinity')
    ON CONFLICT DO NOTHING;
    SELECT s.source_id INTO STRICT v_source_id
    FROM source AS s
    WHERE s.tenant_id = p_tenant_id AND s.kind = 'credits';
    PERFORM entry_append(
        p_tenant_id, v_source_id, 'grant', p_at,
        p_granted_delta => p_micros, p_grant_id => p_grant_id
    );
    RETURN 'added';
END
$$;

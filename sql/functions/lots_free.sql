-- lots_free(tenant_id, lots, rate) -> micros
--
-- What is free in so many lots together.
--
-- Retries: writes nothing.
-- Raises:  22023 if a lot is in another currency than the rate, or there is no rate.
CREATE OR REPLACE FUNCTION dialout.lots_free(
    p_tenant_id uuid, p_lots uuid[], p_rate rate_terms
)
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_micros bigint;
    v_in_currency boolean;
BEGIN
    SELECT coalesce(sum(s.free), 0), bool_and(s.currency = p_rate.currency)
    INTO v_micros, v_in_currency
    FROM source AS s
    WHERE s.tenant_id = p_tenant_id AND s.source_id = ANY(p_lots);
    IF cardinality(p_lots) > 0 AND v_in_currency IS NOT TRUE THEN
        RAISE EXCEPTION 'no rate in the currency of the credits'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN v_micros;
END
$$;

-- fund(tenant_id, source_ids, seconds, rate, at) -> part_proposal[]
--
-- Locks the tenant's sources, counts those that are due, and says what each can give to a
-- call of so many seconds, in the order given, each up to what it has; one that is not
-- capped gives whatever is asked of it. Sets nothing aside: the caller decides whether the
-- sum is enough.
--
-- Retries: harmless.
-- Locks:   the sources, in the order of their ids, which is not the order of asking.
-- Raises:  22023 if a source of money is asked without a rate in its currency. That is a
--          bug in the caller: policy names credits only where there is a rate.
CREATE OR REPLACE FUNCTION dialout.fund(
    p_tenant_id uuid,
    p_source_ids uuid[],
    p_seconds integer,
    p_rate rate_terms,
    p_at timestamptz
)
RETURNS part_proposal[]
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_source source;
    v_part part_proposal;
    v_parts part_proposal[] := '{}';
    v_seconds_left integer := p_seconds;
BEGIN
    PERFORM sources_lock(p_tenant_id, p_source_ids);
    PERFORM benefit_recount(p_tenant_id, s.source_id, p_at)
    FROM source AS s
    WHERE
        s.tenant_id = p_tenant_id AND s.source_id = ANY(p_source_ids)
        AND s.recount_at <= p_at;
    FOR v_source IN
        SELECT s.*
        FROM unnest(p_source_ids) WITH ORDINALITY AS asked (source_id, place)
        INNER JOIN source AS s ON asked.source_id = s.source_id AND s.tenant_id = p_tenant_id
        ORDER BY asked.place
    LOOP
        EXIT WHEN v_seconds_left = 0;
        v_part.source_id := v_source.source_id;
        IF v_source.unit = 'seconds' THEN
            v_part.seconds := CASE
                WHEN v_source.capped THEN least(v_source.free, v_seconds_left)
                ELSE v_seconds_left
            END;
            v_part.micros := 0;
            v_part.amount := v_part.seconds;
        ELSE
            IF p_rate.currency IS DISTINCT FROM v_source.currency THEN
                RAISE EXCEPTION 'no rate in %', v_source.currency
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            v_part.seconds := seconds_paid(v_source.free, v_seconds_left, p_rate);
            v_part.micros := charge_micros(v_part.seconds, p_rate);
            v_part.amount := v_part.micros;
        END IF;
        CONTINUE WHEN v_part.seconds = 0;
        v_part.part := cardinality(v_parts) + 1;
        v_parts := v_parts || v_part;
        v_seconds_left := v_seconds_left - v_part.seconds;
    END LOOP;
    RETURN v_parts;
END
$$;

-- fund(tenant_id, sources, seconds, rate, at) -> part_proposal[]
--
-- Locks the tenant's sources of the given kinds that are valid at p_at and says what each
-- can give to a call of so many seconds, in the order of the kinds, each up to what it has.
-- Writes nothing: the caller decides whether the sum is enough.
--
-- Retries: harmless.
-- Locks:   the sources, in the order of their ids, which is not the order of asking.
-- Raises:  22023 if a source of money is asked without a rate in its currency. That is a
--          bug in the caller: policy names credits only where there is a rate.
CREATE OR REPLACE FUNCTION dialout.fund(
    p_tenant_id uuid, p_sources text[], p_seconds integer, p_rate rate_terms, p_at timestamptz
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
    PERFORM sources_lock(p_tenant_id, ARRAY(
        SELECT s.source_id
        FROM source AS s
        WHERE
            s.tenant_id = p_tenant_id AND s.kind = ANY(p_sources)
            AND s.valid_from <= p_at AND p_at < s.valid_to
    ));
    FOR v_source IN
        SELECT s.*
        FROM unnest(p_sources) WITH ORDINALITY AS asked (kind, place)
        INNER JOIN source AS s ON asked.kind = s.kind
        WHERE s.tenant_id = p_tenant_id AND s.valid_from <= p_at AND p_at < s.valid_to
        ORDER BY asked.place, s.source_id
    LOOP
        EXIT WHEN v_seconds_left = 0;
        v_part.source_id := v_source.source_id;
        IF v_source.unit = 'seconds' THEN
            v_part.seconds := least(v_source.free, v_seconds_left);
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

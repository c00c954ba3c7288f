-- sources_open(tenant_id, time_zone, organizer_id, sources, benefits, at) -> source_ids
--
-- Opens the sources that a call asks for, by kind and benefit, and returns their ids in the
-- same order. An add-on's is that of the organizer. Credits that were never set up have no
-- source and are left out.
--
-- Retries: safe.
-- Locks:   the sources that are new. The caller holds the tenant's row.
-- Raises:  as benefit_open.
CREATE OR REPLACE FUNCTION dialout.sources_open(
    p_tenant_id uuid,
    p_time_zone text,
    p_organizer_id text,
    p_sources text[],
    p_benefits text[],
    p_at timestamptz
)
RETURNS uuid[]
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_source_id uuid;
    v_source_ids uuid[] := '{}';
BEGIN
    FOR v_place IN 1..cardinality(p_sources) LOOP
        IF p_sources[v_place] = 'credits' THEN
            SELECT s.source_id INTO v_source_id
            FROM source AS s
            WHERE
                s.tenant_id = p_tenant_id AND s.kind = 'credits'
                AND s.valid_from <= p_at AND p_at < s.valid_to;
            CONTINUE WHEN NOT found;
        ELSE
            v_source_id := benefit_open(
                p_tenant_id, p_time_zone, p_benefits[v_place],
                CASE p_sources[v_place] WHEN 'addon' THEN p_organizer_id END, p_at
            );
        END IF;
        v_source_ids := v_source_ids || v_source_id;
    END LOOP;
    RETURN v_source_ids;
END
$$;

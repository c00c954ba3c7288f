-- sources_open(tenant_id, organizer_id, kinds, benefits, at) -> source_ids
--
-- Opens the sources that a call asks for, by kind and benefit, and returns their ids in the
-- same order. An add-on's is that of the organizer. Null stands for credits, which are lots,
-- and for a benefit that is not in force at p_at.
--
-- Retries: safe.
-- Locks:   the sources that are new. The caller holds the tenant's row.
-- Raises:  as benefit_open.
CREATE OR REPLACE FUNCTION dialout.sources_open(
    p_tenant_id uuid, p_organizer_id text, p_kinds text[], p_benefits text[], p_at timestamptz
)
RETURNS uuid[]
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_source_ids uuid[] := '{}';
BEGIN
    FOR v_place IN 1..cardinality(p_kinds) LOOP
        v_source_ids := v_source_ids || CASE
            WHEN p_kinds[v_place] <> 'credits' THEN benefit_open(
                p_tenant_id, p_benefits[v_place],
                CASE p_kinds[v_place] WHEN 'addon' THEN p_organizer_id END, p_at
            )
        END;
    END LOOP;
    RETURN v_source_ids;
END
$$;

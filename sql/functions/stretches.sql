-- stretches(tenant_id, organizer_id, kinds, benefits, rate, e164, region, decided_at,
--           from, to) -> stretch, ...
--
-- The time between two instants, cut wherever a call would be paid from another source or at
-- another price: a month ends, a benefit ends, a rate changes. Each stretch names the sources
-- that are open then, as sources_open does, and the rate that holds then, or null. The first
-- begins and the last ends nowhere: where none of them is near, clocks may differ.
--
-- Retries: safe.
-- Locks:   the sources that are new. The caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.stretches(
    p_tenant_id uuid,
    p_organizer_id text,
    p_kinds text[],
    p_benefits text[],
    p_rate rate_terms,
    p_e164 text,
    p_region text,
    p_decided_at timestamptz,
    p_from timestamptz,
    p_to timestamptz
)
RETURNS SETOF stretch
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_at timestamptz := p_from;
    v_changes_at timestamptz[] := '{}';
    v_changes rate_terms[] := '{}';
    v_next integer := 1;
    v_no_rate rate_terms := ROW(null, null, null, null, null, null, null)::rate_terms;
    v_stretch stretch;
BEGIN
    v_stretch.rate := p_rate;
    IF 'credits' = ANY(p_kinds) AND p_rate IS NOT null THEN
        -- A deck may have been loaded since, and hold from an instant before the decision on.
        IF p_from > p_decided_at THEN
            v_stretch.rate := rate_in_force(p_rate, p_e164, p_region, p_from);
        END IF;
        SELECT coalesce(array_agg(c.at), '{}'), coalesce(array_agg(c.rate), '{}')
        INTO v_changes_at, v_changes
        FROM rate_changes(
            p_rate, p_e164, p_region, p_from, p_to, coalesce(v_stretch.rate, v_no_rate)
        ) AS c;
    END IF;
    v_stretch.from_at := '-infinity';
    LOOP
        WHILE v_changes_at[v_next] <= v_at LOOP
            v_stretch.rate := v_changes[v_next];
            v_next := v_next + 1;
        END LOOP;
        v_stretch.source_ids := sources_open(
            p_tenant_id, p_organizer_id, p_kinds, p_benefits, v_at
        );
        SELECT least(v_changes_at[v_next], min(s.valid_to)) INTO v_stretch.to_at
        FROM source AS s
        WHERE s.tenant_id = p_tenant_id AND s.source_id = ANY(v_stretch.source_ids);
        IF (v_stretch.to_at < p_to) IS NOT TRUE THEN
            v_stretch.to_at := 'infinity';
        END IF;
        RETURN NEXT v_stretch;
        EXIT WHEN v_stretch.to_at = 'infinity';
        v_stretch.from_at := v_stretch.to_at;
        v_at := v_stretch.to_at;
    END LOOP;
END
$$;

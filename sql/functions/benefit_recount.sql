-- benefit_recount(tenant_id, source_id, at)
--
-- Grants a source of a benefit what the licences bring that have started by p_at: the
-- benefit's minutes for each, or, of an add-on, as many as the tenant's choice says. What
-- was granted is never taken back: it may already be used. A source that is not capped has
-- nothing to count; it is granted what is set aside of it.
--
-- recount_at remembers when the next licence starts, so that the count is made only when
-- it can change. A source that nobody has a licence for stays due.
--
-- Retries: safe. A second count finds nothing to add.
-- Locks:   none of its own. The caller holds the source, and the tenant's row, so that
--          licences stand still.
CREATE OR REPLACE FUNCTION dialout.benefit_recount(
    p_tenant_id uuid, p_source_id uuid, p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_source source;
    v_sku text;
    v_basis text;
    v_minutes_a_licence integer;
    v_units bigint;
    v_next_start timestamptz;
    v_granted_delta bigint;
BEGIN
    SELECT s.* INTO STRICT v_source
    FROM source AS s
    WHERE s.tenant_id = p_tenant_id AND s.source_id = p_source_id;
    SELECT
        b.sku,
        c.pool_basis,
        CASE b.kind WHEN 'addon' THEN c.addon_fair_use_minutes ELSE b.minutes_a_licence END
    INTO STRICT v_sku, v_basis, v_minutes_a_licence
    FROM benefit AS b
    CROSS JOIN tenant_policy AS c
    WHERE b.benefit_id = v_source.benefit_id AND c.tenant_id = p_tenant_id;

    IF v_source.capped THEN
        SELECT u.units, u.next_start INTO v_units, v_next_start
        FROM benefit_units(v_source, v_sku, v_basis, p_at) AS u;
        v_granted_delta := v_units * v_minutes_a_licence * 60 - v_source.granted;
    END IF;
    UPDATE source AS s
    SET recount_at = CASE v_units WHEN 0 THEN p_at ELSE v_next_start END
    WHERE s.tenant_id = p_tenant_id AND s.source_id = p_source_id;
    IF v_granted_delta > 0 THEN
        PERFORM entry_append(
            p_tenant_id, p_source_id, 'grant', p_at, p_at, p_granted_delta => v_granted_delta
        );
    END IF;
END
$$;

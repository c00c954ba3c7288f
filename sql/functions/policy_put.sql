-- policy_put(tenant_id, choices, at) -> outcome
--
-- Makes these the choices of a tenant, from now on. The choices come as a JSON object with a
-- field for each of them. Minutes that were granted stay; those that the choices newly bring
-- come with the next call.
--
-- Outcomes. The first that applies is returned; all but `changed` write nothing.
--   unknown_tenant   no such tenant
--   unknown_version  there is no such edition of the availability
--   unknown_region   one of the add-on's regions is no two capital letters
--   unchanged        these are the tenant's choices already
--   changed          they are now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the tenant's row, then the sources that are open.
-- Raises:  23502 if a choice is missing, 23514 if one has no possible value.
CREATE OR REPLACE FUNCTION dialout.policy_put(
    p_tenant_id uuid, p_choices json, p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_policy tenant_policy := json_populate_record(null::tenant_policy, p_choices);
    v_stored tenant_policy;
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    IF NOT EXISTS (
        SELECT FROM availability AS a WHERE a.version = v_policy.availability_version
    ) THEN
        RETURN 'unknown_version';
    END IF;
    IF EXISTS (SELECT FROM unnest(v_policy.addon_regions) AS r WHERE r !~ '^[A-Z]{2}$') THEN
        RETURN 'unknown_region';
    END IF;
    v_policy.tenant_id := p_tenant_id;
    v_policy.addon_regions := array_sort(v_policy.addon_regions);
    SELECT c.* INTO STRICT v_stored FROM tenant_policy AS c WHERE c.tenant_id = p_tenant_id;
    IF v_policy = v_stored THEN
        RETURN 'unchanged';
    END IF;

    -- From here on the change must succeed.
    UPDATE tenant_policy AS c
    SET
        addon_regions = v_policy.addon_regions,
        addon_fair_use_minutes = v_policy.addon_fair_use_minutes,
        pool_basis = v_policy.pool_basis,
        ppm_needs_credits_licence = v_policy.ppm_needs_credits_licence,
        premium = v_policy.premium,
        toll_free = v_policy.toll_free,
        unallocated = v_policy.unallocated,
        high_risk_prefixes = v_policy.high_risk_prefixes,
        meeting_to_self = v_policy.meeting_to_self,
        meeting_to_third_party = v_policy.meeting_to_third_party,
        confirmation = v_policy.confirmation,
        on_exhaustion = v_policy.on_exhaustion,
        availability_version = v_policy.availability_version
    WHERE c.tenant_id = p_tenant_id;
    PERFORM benefits_recount_due(p_tenant_id, p_at);
    RETURN 'changed';
END
$$;

-- What tenants chose: one row a tenant, one column a choice.
CREATE OR REPLACE VIEW dialout.policy_list AS
SELECT
    c.tenant_id,
    c.addon_regions,
    c.addon_fair_use_minutes,
    c.pool_basis,
    c.ppm_needs_credits_licence,
    c.premium,
    c.toll_free,
    c.unallocated,
    c.high_risk_prefixes,
    c.meeting_to_self,
    c.meeting_to_third_party,
    c.confirmation,
    c.on_exhaustion,
    c.availability_version
FROM dialout.tenant_policy AS c;

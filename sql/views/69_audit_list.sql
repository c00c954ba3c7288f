-- Who changed what, and why. What touches all tenants has no tenant.
--
-- Before and after are JSON text, so that a client needs to know no type of ours.
CREATE OR REPLACE VIEW dialout.audit_list AS
SELECT
    a.audit_id,
    a.tenant_id,
    a.at,
    a.actor,
    a.because,
    a.relation,
    a.before::text AS before,
    a.after::text AS after
FROM dialout.tenant_audit AS a
UNION ALL
SELECT
    a.audit_id,
    null AS tenant_id,
    a.at,
    a.actor,
    a.because,
    a.relation,
    a.before::text AS before,
    a.after::text AS after
FROM dialout.operator_audit AS a;

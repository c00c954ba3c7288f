-- Every prefix that is listed, and in which list: the tenants' own, the operator's, and the
-- high-risk ones that are shipped. The last two hold for all tenants, and have no tenant.
CREATE OR REPLACE VIEW dialout.prefix_list AS
SELECT
    'tenant' AS listed_in,
    b.tenant_id,
    b.prefix,
    b.effect,
    b.note,
    null AS region,
    null AS source,
    null::date AS listed_on
FROM dialout.tenant_prefix AS b
UNION ALL
SELECT
    'operator' AS listed_in,
    null AS tenant_id,
    b.prefix,
    'block' AS effect,
    b.note,
    null AS region,
    null AS source,
    null AS listed_on
FROM dialout.operator_prefix AS b
UNION ALL
SELECT
    'high_risk' AS listed_in,
    null AS tenant_id,
    h.prefix,
    'block' AS effect,
    h.note,
    h.region,
    h.source,
    h.listed_on
FROM dialout.high_risk_prefix AS h;

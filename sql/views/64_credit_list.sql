-- The funds that tenants bought, when they lapse, and what is left of each.
CREATE OR REPLACE VIEW dialout.credit_list AS
SELECT
    g.tenant_id,
    g.grant_id,
    g.micros,
    s.currency,
    g.at,
    nullif(s.valid_to, 'infinity') AS valid_to,
    s.free
FROM dialout.credit_grant AS g
INNER JOIN dialout.source AS s ON g.tenant_id = s.tenant_id AND g.source_id = s.source_id;

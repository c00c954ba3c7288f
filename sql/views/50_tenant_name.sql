-- Who the tenants are.
CREATE OR REPLACE VIEW dialout.tenant_name AS
SELECT
    t.tenant_id,
    t.name,
    t.suspended,
    t.time_zone,
    t.currency
FROM dialout.tenant AS t;

-- The funds that tenants bought. What is left of them is in `balance`.
CREATE OR REPLACE VIEW dialout.credit_list AS
SELECT
    e.tenant_id,
    e.grant_id,
    e.granted_delta AS micros,
    s.currency,
    e.at
FROM dialout.entry AS e
INNER JOIN dialout.source AS s ON e.tenant_id = s.tenant_id AND e.source_id = s.source_id
WHERE e.grant_id IS NOT null;

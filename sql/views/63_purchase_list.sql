-- What tenants bought. The end is null where there is none.
CREATE OR REPLACE VIEW dialout.purchase_list AS
SELECT
    p.tenant_id,
    p.purchase_id,
    p.sku,
    p.quantity,
    p.channel,
    p.segment,
    p.valid_from,
    nullif(p.valid_to, 'infinity') AS valid_to
FROM dialout.purchase AS p;

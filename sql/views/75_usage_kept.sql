-- From when on a tenant's calls are all there: months before were taken out of the ledger. A
-- tenant of whom nothing was taken out has no row.
CREATE OR REPLACE VIEW dialout.usage_kept AS
SELECT
    c.tenant_id,
    date_add(max(c.month), interval '1 month', 'UTC') AS kept_from
FROM dialout.carry AS c
GROUP BY c.tenant_id;

-- Whose credits are recharged by themselves, and how.
CREATE OR REPLACE VIEW dialout.auto_recharge_list AS
SELECT
    a.tenant_id,
    a.amount_micros,
    a.trigger_micros,
    a.backoff_seconds,
    t.currency
FROM dialout.auto_recharge AS a
INNER JOIN dialout.tenant AS t ON a.tenant_id = t.tenant_id;

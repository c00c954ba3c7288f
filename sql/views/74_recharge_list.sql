-- What was asked of the payment system, and what it answered.
CREATE OR REPLACE VIEW dialout.recharge_list AS
SELECT
    r.tenant_id,
    r.recharge_id,
    r.amount_micros,
    t.currency,
    r.requested_at,
    r.state,
    r.ended_at,
    r.because
FROM dialout.recharge AS r
INNER JOIN dialout.tenant AS t ON r.tenant_id = t.tenant_id;

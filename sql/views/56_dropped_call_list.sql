-- The calls that were ended because their meeting had left them behind, and what that saved.
CREATE OR REPLACE VIEW dialout.dropped_call_list AS
SELECT
    c.tenant_id,
    c.dial_out_id,
    c.reason,
    c.at,
    c.saved_seconds,
    c.saved_micros,
    t.currency
FROM dialout.dropped_call AS c
INNER JOIN dialout.tenant AS t ON c.tenant_id = t.tenant_id;

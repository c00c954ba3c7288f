-- When evidence of the calls of a bridge may be missing, by the clock of its Asterisk.
CREATE OR REPLACE VIEW dialout.outage_list AS
SELECT
    o.outage_id,
    o.bridge,
    o.kind,
    o.began_at,
    o.ended_at,
    o.detail
FROM dialout.outage AS o;

-- The calls that were refused: whose they would have been, and why. For reports.
CREATE OR REPLACE VIEW dialout.usage_refusal AS
SELECT
    d.tenant_id,
    d.dial_out_id,
    d.requested_at,
    d.kind,
    d.organizer_id,
    o.display_name AS organizer_name,
    coalesce(d.explanation #>> '{facts,organizer,region}', o.region) AS organizer_region,
    d.reason,
    t.currency
FROM dialout.dial_out AS d
INNER JOIN dialout.tenant AS t ON d.tenant_id = t.tenant_id
LEFT JOIN dialout.organizer AS o
    ON d.tenant_id = o.tenant_id AND d.organizer_id = o.organizer_id
WHERE d.state = 'refused';

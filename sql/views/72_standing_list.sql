-- What each source was granted, has paid, has set aside and has left, for how long it may pay,
-- and the licence that brought it. For reports.
--
-- The bounds are null where there is none. Credits are one row a lot. An organizer is named
-- where the source is one organizer's own.
CREATE OR REPLACE VIEW dialout.standing_list AS
SELECT
    s.tenant_id,
    s.source_id,
    s.kind,
    s.benefit_id,
    b.sku,
    s.organizer_id,
    o.display_name AS organizer_name,
    o.region AS organizer_region,
    s.capped,
    s.unit,
    s.currency,
    nullif(s.valid_from, '-infinity') AS valid_from,
    nullif(s.valid_to, 'infinity') AS valid_to,
    s.granted,
    s.used,
    s.reserved,
    s.free
FROM dialout.source AS s
LEFT JOIN dialout.benefit AS b ON s.benefit_id = b.benefit_id
LEFT JOIN dialout.organizer AS o
    ON s.tenant_id = o.tenant_id AND s.organizer_id = o.organizer_id;

-- What organizers hold. The end is null where there is none.
CREATE OR REPLACE VIEW dialout.licence_list AS
SELECT
    l.tenant_id,
    l.organizer_id,
    l.sku,
    l.valid_from,
    nullif(l.valid_to, 'infinity') AS valid_to,
    l.channel,
    l.segment,
    l.forced_by,
    l.forced_because
FROM dialout.licence AS l;

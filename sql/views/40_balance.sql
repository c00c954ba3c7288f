-- What each source was granted, has paid, has set aside and has left.
--
-- The validity is null where it has no bound, the organizer where the whole tenant shares it.
CREATE OR REPLACE VIEW dialout.balance AS
SELECT
    s.tenant_id,
    s.source_id,
    s.kind,
    s.benefit_id,
    s.organizer_id,
    s.capped,
    s.unit,
    s.currency,
    nullif(s.valid_from, '-infinity') AS valid_from,
    nullif(s.valid_to, 'infinity') AS valid_to,
    s.granted,
    s.used,
    s.reserved,
    s.free
FROM dialout.source AS s;

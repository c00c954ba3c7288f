-- The meetings that have permissions of their own, and whose they are if that is known.
CREATE OR REPLACE VIEW dialout.meeting_list AS
SELECT
    m.tenant_id,
    m.conference_id,
    m.to_self,
    m.to_third_party,
    m.organizer_id
FROM dialout.meeting AS m;

-- The meetings that have permissions of their own.
CREATE OR REPLACE VIEW dialout.meeting_list AS
SELECT
    m.tenant_id,
    m.conference_id,
    m.to_self,
    m.to_third_party
FROM dialout.meeting AS m;

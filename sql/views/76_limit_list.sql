-- The limits that are set. An empty subject is the tenant itself, or the default of all its
-- organizers or meetings; null `most` is none, where the default is one.
CREATE OR REPLACE VIEW dialout.limit_list AS
SELECT
    l.tenant_id,
    l.scope,
    l.subject,
    l.kind,
    l.most,
    l.mode
FROM dialout.call_limit AS l;

-- Who may pay for calls.
CREATE OR REPLACE VIEW dialout.organizer_list AS
SELECT
    o.tenant_id,
    o.organizer_id,
    o.display_name,
    o.region,
    o.dial_out_permission
FROM dialout.organizer AS o;

-- The dial-outs that are neither refused nor ended. Each of them has funds set aside, but for a
-- telephone that has called in on a toll number: that one may have few or none.
CREATE OR REPLACE VIEW dialout.open_dial_out AS
SELECT r.*
FROM dialout.dial_out_record AS r
WHERE r.ended_at IS null AND r.expires_at IS NOT null;

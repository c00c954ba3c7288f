-- How often numbers were called of late, whoever asked, and until when they are left alone.
CREATE OR REPLACE VIEW dialout.callee_list AS
SELECT
    c.destination,
    c.attempts,
    c.window_from,
    nullif(c.quiet_until, '-infinity') AS quiet_until
FROM dialout.callee AS c;

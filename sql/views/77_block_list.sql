-- Who is blocked, and who was. A block that is in force has not been lifted.
CREATE OR REPLACE VIEW dialout.block_list AS
SELECT
    b.tenant_id,
    b.block_id,
    b.organizer_id,
    b.at,
    b.blocked_by,
    b.reason,
    b.lifted_at,
    b.lifted_by,
    b.lifted_because
FROM dialout.organizer_block AS b;

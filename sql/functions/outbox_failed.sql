-- outbox_failed(event_id, attempt, fault, next_at, at) -> state
--
-- Records that an attempt has not brought an event to the receiver, why, and when the next one
-- is made. None is the last; but what was first tried three days ago is marked as failing.
--
-- Retries: safe. Of an attempt that counted as lost, and is followed by another, or of an event
--          that was delivered meanwhile, nothing is recorded.
-- Locks:   the delivery.
CREATE OR REPLACE FUNCTION dialout.outbox_failed(
    p_event_id uuid, p_attempt integer, p_fault text, p_next_at timestamptz, p_at timestamptz
)
RETURNS text
LANGUAGE sql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    UPDATE delivery AS d
    SET
        state = CASE
            WHEN d.first_at <= p_at - interval '3 days' THEN 'failing' ELSE d.state
        END,
        fault = p_fault,
        next_at = p_next_at
    WHERE d.event_id = p_event_id AND d.attempts = p_attempt AND d.state <> 'delivered';
    SELECT d.state FROM delivery AS d WHERE d.event_id = p_event_id
$$;

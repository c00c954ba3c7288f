-- outbox_retry(event_id, at) -> outcome
--
-- Has an event delivered at once that waits for its next attempt; null has all of them.
--
-- Outcomes. The first that applies is returned; all but `due` write nothing.
--   unknown_event      no such event
--   already_delivered  the receiver has it
--   due                it is tried next
--
-- Retries: safe. An attempt that is being made is made once more; the receiver knows the id.
-- Locks:   the deliveries, in the order of their ids.
CREATE OR REPLACE FUNCTION dialout.outbox_retry(p_event_id uuid, p_at timestamptz)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    WITH waiting AS (
        SELECT d.event_id
        FROM delivery AS d
        WHERE (p_event_id IS null OR d.event_id = p_event_id) AND d.state <> 'delivered'
        ORDER BY d.event_id
        FOR NO KEY UPDATE
    )
    UPDATE delivery AS d
    SET next_at = p_at
    FROM waiting AS w
    WHERE d.event_id = w.event_id;
    IF found OR p_event_id IS null THEN
        RETURN 'due';
    END IF;
    RETURN CASE
        WHEN EXISTS (SELECT FROM event AS e WHERE e.event_id = p_event_id)
            THEN 'already_delivered'
        ELSE 'unknown_event'
    END;
END
$$;

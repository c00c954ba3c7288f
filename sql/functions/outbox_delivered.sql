-- outbox_delivered(event_id, at)
--
-- Records that the receiver has an event. Whichever attempt brought it: nothing is sent twice
-- only because one that counted as lost was late.
--
-- Retries: safe. The first instant stands.
-- Locks:   the delivery.
CREATE OR REPLACE FUNCTION dialout.outbox_delivered(p_event_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    UPDATE delivery AS d
    SET state = 'delivered', delivered_at = p_at, fault = null
    WHERE d.event_id = p_event_id AND d.state <> 'delivered'
$$;

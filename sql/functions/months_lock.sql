-- months_lock()
--
-- Keeps everybody out of the tables that lie in partitions, and of the one they refer to.
--
-- In this order, because a call begins with its dial-out, and goes on to the others: so none
-- can hold one of these and wait for another that is taken here already, and no call is given
-- up to break a circle.
--
-- Locks:   as it says, until the transaction ends.
-- Raises:  55P03 if others hold one for longer than lock_timeout.
CREATE OR REPLACE FUNCTION dialout.months_lock()
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    LOCK TABLE dial_out, reason, part, charge, entry IN ACCESS EXCLUSIVE MODE;
END
$$;

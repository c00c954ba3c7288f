-- month_is_open(from, to) -> boolean
--
-- Whether a dial-out that was requested from p_from until before p_to has not ended.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.month_is_open(p_from timestamptz, p_to timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM dial_out AS d
        WHERE
            d.requested_at >= p_from AND d.requested_at < p_to
            AND d.ended_at IS null AND d.expires_at IS NOT null
    )
$$;

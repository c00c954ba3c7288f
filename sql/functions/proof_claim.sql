-- proof_claim(holder, at, every_seconds, lease_seconds) -> claimed, checked_at, seconds, findings
--
-- Takes on the check of the whole ledger if it is due and nobody else is at it, or keeps what
-- p_holder has taken on before; and tells what the last one found, nulls before the first.
--
-- It is due when the last one ended p_every_seconds ago. Whoever checks says so again within
-- p_lease_seconds, or another one may begin: a gateway that died must not end the checks, and
-- two at once do no harm.
--
-- Retries: safe.
-- Locks:   the only row of proof.
CREATE OR REPLACE FUNCTION dialout.proof_claim(
    p_holder uuid, p_at timestamptz, p_every_seconds integer, p_lease_seconds integer
)
RETURNS TABLE (claimed boolean, checked_at timestamptz, seconds integer, findings json)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    UPDATE proof AS p
    SET claimed_by = p_holder, claimed_at = p_at
    WHERE
        (p.checked_at <= p_at - make_interval(secs => p_every_seconds)) IS NOT false
        AND (
            p.claimed_by = p_holder
            OR p.claimed_at <= p_at - make_interval(secs => p_lease_seconds)
        ) IS NOT false;
    claimed := found;
    SELECT p.checked_at, p.seconds, p.findings INTO STRICT checked_at, seconds, findings
    FROM proof AS p;
    RETURN NEXT;
END
$$;

-- proof_end(holder, at, seconds, findings)
--
-- Notes what a check of the whole ledger has found: how often each finding, as a JSON object.
-- Of two who were at it at once, only the one who took it on last is believed.
--
-- Retries: safe.
-- Locks:   the only row of proof.
CREATE OR REPLACE FUNCTION dialout.proof_end(
    p_holder uuid, p_at timestamptz, p_seconds integer, p_findings json
)
RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    UPDATE proof AS p
    SET
        claimed_by = null,
        claimed_at = null,
        checked_at = p_at,
        seconds = p_seconds,
        findings = p_findings
    WHERE p.claimed_by = p_holder
$$;

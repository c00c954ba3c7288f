-- proof_release(holder)
--
-- Gives back the check of the whole ledger that p_holder has taken on and will not end, so that
-- the next one need not wait. Nothing changes if another one has taken it on meanwhile.
--
-- Retries: safe.
-- Locks:   the only row of proof.
CREATE OR REPLACE FUNCTION dialout.proof_release(p_holder uuid)
RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    UPDATE proof AS p
    SET claimed_by = null, claimed_at = null
    WHERE p.claimed_by = p_holder
$$;

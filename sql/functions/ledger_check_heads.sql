-- ledger_check_heads(tenant_id, months, numbers, digests) -> finding, subject, detail
--
-- Compares heads that somebody has kept with the entries of the same months and numbers. Of a
-- month that was taken out only the last entry is still known: a head from before its end is
-- looked up where the month was put, if it is still there, and else passed over.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.ledger_check_heads(
    p_tenant_id uuid, p_months timestamptz[], p_numbers bigint[], p_digests bytea[]
)
RETURNS TABLE (finding text, subject text, detail text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        'head_differs',
        to_char(k.month AT TIME ZONE 'UTC', 'YYYY-MM'),
        format(
            'entry %s was %s and is %s',
            k.number, encode(k.digest, 'hex'), coalesce(encode(h.digest, 'hex'), 'missing')
        )
    FROM unnest(p_months, p_numbers, p_digests) AS k (month, number, digest)
    CROSS JOIN LATERAL entry_digest_kept(p_tenant_id, k.month, k.number) AS h
    WHERE h.is_known AND h.digest IS DISTINCT FROM k.digest
$$;

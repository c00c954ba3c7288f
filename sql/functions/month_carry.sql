-- month_carry(from, to)
--
-- Notes what the entries of a month come to, source by source, and which of its digests later
-- months are joined to.
--
-- Retries: none of its own; a step of month_detach, which comes here once.
CREATE OR REPLACE FUNCTION dialout.month_carry(p_from timestamptz, p_to timestamptz)
RETURNS void
LANGUAGE sql
SET search_path TO dialout, pg_temp
AS $$
    INSERT INTO carry (tenant_id, month, source_id, granted, used, reserved, entries)
    SELECT
        e.tenant_id,
        p_from,
        e.source_id,
        sum(e.granted_delta),
        sum(e.used_delta),
        sum(e.reserved_delta),
        count(*)
    FROM entry AS e
    WHERE e.filed_at >= p_from AND e.filed_at < p_to
    GROUP BY e.tenant_id, e.source_id;

    INSERT INTO joint (tenant_id, month, digest)
    SELECT DISTINCT c.tenant_id, p_from, c.origin
    FROM chain AS c
    INNER JOIN entry AS e ON c.tenant_id = e.tenant_id AND c.origin = e.digest
    WHERE c.month > p_from AND e.filed_at >= p_from AND e.filed_at < p_to;
$$;

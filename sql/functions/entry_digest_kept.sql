-- entry_digest_kept(tenant_id, month, number) -> digest, is_known
--
-- The digest of one entry, null if there is none; of a month that was taken out, that of its
-- last one, or of any if the month is still where it was put. Not known where neither tells.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.entry_digest_kept(
    p_tenant_id uuid, p_month timestamptz, p_number bigint, OUT digest bytea, OUT is_known boolean
)
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_head chain;
    v_archive regclass := to_regclass('dialout_archive.' || month_table('entry', p_month));
BEGIN
    is_known := true;
    SELECT c.* INTO v_head FROM chain AS c WHERE c.tenant_id = p_tenant_id AND c.month = p_month;
    IF v_head.number = p_number THEN
        digest := v_head.digest;
    ELSIF NOT EXISTS (
        SELECT FROM carry AS y WHERE y.tenant_id = p_tenant_id AND y.month = p_month
    ) THEN
        SELECT e.digest INTO digest
        FROM entry AS e
        WHERE
            e.tenant_id = p_tenant_id AND e.number = p_number
            AND e.filed_at >= p_month
            AND e.filed_at < date_add(p_month, interval '1 month', 'UTC');
    ELSIF v_archive IS NOT null THEN
        EXECUTE format('SELECT e.digest FROM %s AS e WHERE e.tenant_id = $1 AND e.number = $2', v_archive)
        INTO digest USING p_tenant_id, p_number;
    ELSE
        is_known := p_number > v_head.number;
    END IF;
END
$$;

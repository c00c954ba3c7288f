-- pool_open(tenant_id, time_zone, at)
--
-- Makes sure that the pool of the calendar month of p_at exists and holds what the licences
-- that have started by then bring. The month is that of the tenant's time zone.
--
-- Nothing has to run at midnight: the first call of a month opens its pool. What was left
-- of the month before stays where it is; there is no rollover.
--
-- Retries: safe. An open pool is recounted only when another licence has started.
-- Locks:   the pool, if it is new or recounted. The caller holds the tenant's row.
CREATE OR REPLACE FUNCTION dialout.pool_open(
    p_tenant_id uuid, p_time_zone text, p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_month timestamp := date_trunc('month', p_at AT TIME ZONE p_time_zone);
    v_from timestamptz := v_month AT TIME ZONE p_time_zone;
    v_to timestamptz := (v_month + interval '1 month') AT TIME ZONE p_time_zone;
    v_source_id uuid;
    v_recount_at timestamptz;
BEGIN
    SELECT s.source_id, s.recount_at INTO v_source_id, v_recount_at
    FROM source AS s
    WHERE s.tenant_id = p_tenant_id AND s.kind = 'pool' AND s.valid_from = v_from;
    IF v_source_id IS null THEN
        INSERT INTO source (tenant_id, kind, unit, valid_from, valid_to)
        VALUES (p_tenant_id, 'pool', 'seconds', v_from, v_to)
        RETURNING source_id INTO v_source_id;
        v_recount_at := p_at;
    END IF;
    IF v_recount_at <= p_at THEN
        PERFORM pool_recount(p_tenant_id, v_source_id, p_at);
    END IF;
END
$$;

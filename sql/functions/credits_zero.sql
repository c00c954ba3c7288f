-- credits_zero(tenant_id, at)
--
-- Tells that a tenant's credits pay for no more calls: once, until funds are bought again.
--
-- Retries: safe.
CREATE OR REPLACE FUNCTION dialout.credits_zero(p_tenant_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE sql
SET search_path TO dialout, pg_temp
AS $$
    SELECT event_append(
        p_tenant_id, 'credits.zero', c.lot_id,
        jsonb_build_object('currency', c.currency, 'free_micros', c.free_micros), p_at
    )
    FROM credits_standing(p_tenant_id, p_at) AS c
    WHERE c.lot_id IS NOT null
$$;

-- addon_month_from(tenant_id, at) -> from_at
--
-- The first instant of the tenant's month that an instant lies in.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.addon_month_from(p_tenant_id uuid, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT m.starts_at
    FROM tenant AS t
    CROSS JOIN LATERAL period_of(t.time_zone, t.anchor_day, p_at) AS m
    WHERE t.tenant_id = p_tenant_id
$$;

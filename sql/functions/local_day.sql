-- local_day(tenant_id, at) -> day
--
-- The day of a tenant, by its time zone, that an instant lies in.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.local_day(p_tenant_id uuid, p_at timestamptz)
RETURNS date
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT (p_at AT TIME ZONE t.time_zone)::date FROM tenant AS t WHERE t.tenant_id = p_tenant_id
$$;

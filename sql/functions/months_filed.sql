-- months_filed(tenant_id) -> month
--
-- The first instants of the months of UTC, in order, from the first to the last one in which
-- anything of a tenant's is filed, or was until it was taken out.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.months_filed(p_tenant_id uuid)
RETURNS TABLE (month timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    WITH bounds AS (
        SELECT min(c.month) AS first_at, max(c.month) AS last_at
        FROM chain AS c
        WHERE c.tenant_id = p_tenant_id
        UNION ALL
        SELECT min(d.requested_at), max(d.requested_at)
        FROM dial_out AS d
        WHERE d.tenant_id = p_tenant_id
    )

    SELECT
        generate_series(
            date_trunc('month', min(b.first_at), 'UTC'), max(b.last_at), interval '1 month', 'UTC'
        )
    FROM bounds AS b
$$;

-- lots_open(tenant_id, at) -> source_ids
--
-- The lots of a tenant's credits that have not lapsed at p_at and are not used up, in the order
-- in which they are used: the one that lapses first comes first. One with nothing free is among
-- them while something is set aside of it, which may come back at any moment.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.lots_open(p_tenant_id uuid, p_at timestamptz)
RETURNS uuid[]
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        coalesce(array_agg(s.source_id ORDER BY s.valid_to, s.valid_from, s.source_id), '{}')
    FROM source AS s
    WHERE
        s.tenant_id = p_tenant_id AND s.kind = 'credits'
        AND s.valid_from <= p_at AND p_at < s.valid_to
        AND s.granted > s.used
$$;

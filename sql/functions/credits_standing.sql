-- credits_standing(tenant_id, at) -> currency, free_micros, unused_micros, lot_id
--
-- What a tenant's lots of credits have between them at an instant. Free is what a call may
-- still set aside; unused is that and what calls have set aside, of which some may come back.
-- lot_id is the lot that was bought last, lapsed or not; null if none ever was.
--
-- Retries: reads only.
CREATE OR REPLACE FUNCTION dialout.credits_standing(p_tenant_id uuid, p_at timestamptz)
RETURNS TABLE (currency text, free_micros bigint, unused_micros bigint, lot_id uuid)
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        t.currency,
        coalesce(sum(s.free) FILTER (WHERE s.valid_from <= p_at AND p_at < s.valid_to), 0)::bigint,
        coalesce(
            sum(s.granted - s.used) FILTER (WHERE s.valid_from <= p_at AND p_at < s.valid_to), 0
        )::bigint,
        (array_agg(s.source_id ORDER BY s.valid_from DESC, s.source_id DESC)
            FILTER (WHERE s.source_id IS NOT null))[1]
    FROM tenant AS t
    LEFT JOIN source AS s ON t.tenant_id = s.tenant_id AND s.kind = 'credits'
    WHERE t.tenant_id = p_tenant_id
    GROUP BY t.currency
$$;

-- organizer_facts(tenant_id, organizer_id, initiator_id, at)
--     -> suspended, credits_set_up, region, permission, licences, initiator_region
--
-- What policy must know of a tenant, of the organizer who pays and of the participant who
-- asks, in one round trip. No row: no such tenant. Null region: no such organizer. Null
-- initiator_region: the tenant does not know the initiator.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.organizer_facts(
    p_tenant_id uuid, p_organizer_id text, p_initiator_id text, p_at timestamptz
)
RETURNS TABLE (
    suspended boolean,
    credits_set_up boolean,
    region text,
    permission text,
    licences text[],
    initiator_region text
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        t.suspended,
        EXISTS (
            SELECT FROM source AS s
            WHERE
                s.tenant_id = t.tenant_id AND s.kind = 'credits'
                AND s.valid_from <= p_at AND p_at < s.valid_to
        ),
        o.region,
        o.dial_out_permission,
        ARRAY(
            SELECT DISTINCT l.sku
            FROM licence AS l
            WHERE
                l.tenant_id = t.tenant_id AND l.organizer_id = p_organizer_id
                AND l.valid_from <= p_at AND p_at < l.valid_to
        ),
        i.region
    FROM tenant AS t
    LEFT JOIN organizer AS o
        ON t.tenant_id = o.tenant_id AND o.organizer_id = p_organizer_id
    LEFT JOIN organizer AS i
        ON t.tenant_id = i.tenant_id AND i.organizer_id = p_initiator_id
    WHERE t.tenant_id = p_tenant_id
$$;

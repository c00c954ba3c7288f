-- organizer_facts(tenant_id, organizer_id, initiator_id, conference_id, at)
--     -> suspended, credits_set_up, choices, benefits, region, permission, licences,
--        dial_out_disabled, blocked, initiator_region, meeting_to_self, meeting_to_third_party,
--        meeting_organizer_id, limits
--
-- What policy must know of a tenant, of the organizer who pays, of the participant who asks
-- and of their meeting, in one round trip. No row: no such tenant. Null region: no such
-- organizer. Null initiator_region: the tenant does not know the initiator. Null meeting
-- permissions: the meeting has none of its own. Null meeting_organizer_id: nobody has said whose
-- meeting it is.
--
-- Choices, benefits and limits are JSON text: an object with a field a choice, and lists of the
-- benefits and of the limits in force, each limit with what is used of it.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.organizer_facts(
    p_tenant_id uuid,
    p_organizer_id text,
    p_initiator_id text,
    p_conference_id text,
    p_at timestamptz
)
RETURNS TABLE (
    suspended boolean,
    credits_set_up boolean,
    choices text,
    benefits text,
    region text,
    permission text,
    licences text[],
    dial_out_disabled boolean,
    blocked boolean,
    initiator_region text,
    meeting_to_self text,
    meeting_to_third_party text,
    meeting_organizer_id text,
    limits text
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        t.suspended,
        EXISTS (
            SELECT FROM source AS s
            WHERE
                s.tenant_id = t.tenant_id AND s.kind = 'credits' AND s.valid_from <= p_at
        ),
        (to_jsonb(c) - 'tenant_id')::text,
        (
            SELECT
                coalesce(
                    json_agg(
                        json_build_object(
                            'benefit_id', b.benefit_id,
                            'kind', b.kind,
                            'sku', b.sku,
                            'zone', b.zone
                        ) ORDER BY b.benefit_id
                    ),
                    '[]'
                )::text
            FROM benefit AS b
            WHERE b.valid_from <= p_at AND p_at < b.valid_to
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
        EXISTS (
            SELECT FROM restriction AS x
            WHERE
                x.region = o.region AND x.kind = 'dial_out_disabled'
                AND x.valid_from <= p_at AND p_at < x.valid_to
        ),
        EXISTS (
            SELECT FROM organizer_block AS x
            WHERE
                x.tenant_id = t.tenant_id AND x.organizer_id = p_organizer_id
                AND x.lifted_at IS null
        ),
        i.region,
        m.to_self,
        m.to_third_party,
        m.organizer_id,
        (
            SELECT coalesce(json_agg(l), '[]')::text
            FROM limits_standing(t.tenant_id, p_organizer_id, p_conference_id, p_at) AS l
        )
    FROM tenant AS t
    INNER JOIN tenant_policy AS c ON t.tenant_id = c.tenant_id
    LEFT JOIN organizer AS o
        ON t.tenant_id = o.tenant_id AND o.organizer_id = p_organizer_id
    LEFT JOIN organizer AS i
        ON t.tenant_id = i.tenant_id AND i.organizer_id = p_initiator_id
    LEFT JOIN meeting AS m
        ON t.tenant_id = m.tenant_id AND m.conference_id = p_conference_id
    WHERE t.tenant_id = p_tenant_id
$$;

-- destination_facts(tenant_id, e164, region, at, deck_id, rates_at, organizer_id)
--     -> zones, operator_prefix, high_risk_prefix, tenant_prefix, exempt_prefix, called_today,
--        rate
--
-- What the reference data, the lists and a rate deck say of a destination at an instant: the
-- zones that its country is in, the longest prefix that each list has, and the rate of the
-- longest prefix in the deck. A null deck is the tenant's own, and null rates_at is the same
-- instant; a deck that is tried out has no rates of the past. Null rate: the deck has none, or
-- there is no deck. called_today are the scopes, tenant and organizer, in which the number was
-- called already on this day of the tenant. Always one row.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.destination_facts(
    p_tenant_id uuid,
    p_e164 text,
    p_region text,
    p_at timestamptz,
    p_deck_id integer,
    p_rates_at timestamptz,
    p_organizer_id text
)
RETURNS TABLE (
    zones text[],
    operator_prefix text,
    high_risk_prefix text,
    tenant_prefix text,
    exempt_prefix text,
    called_today text[],
    deck_id integer,
    deck text,
    prefix text,
    regions text[],
    currency text,
    price_micros bigint,
    connect_fee_micros bigint,
    initial_increment_seconds integer,
    increment_seconds integer
)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        ARRAY(
            SELECT z.zone
            FROM zone_member AS z
            WHERE z.region = p_region AND z.valid_from <= p_at AND p_at < z.valid_to
        ),
        (SELECT max(b.prefix) FROM operator_prefix AS b WHERE b.prefix = ANY(number.prefixes)),
        (SELECT max(h.prefix) FROM high_risk_prefix AS h WHERE h.prefix = ANY(number.prefixes)),
        own.blocked,
        own.exempt,
        ARRAY(
            SELECT CASE c.organizer_id WHEN '' THEN 'tenant' ELSE 'organizer' END
            FROM callee_day AS c
            WHERE
                c.tenant_id = p_tenant_id AND c.day = local_day(p_tenant_id, p_at)
                AND c.organizer_id IN ('', p_organizer_id) AND c.callee = p_e164
        ),
        longest.*
    FROM (SELECT prefixes_of(p_e164) AS prefixes) AS number
    CROSS JOIN LATERAL (
        SELECT
            max(b.prefix) FILTER (WHERE b.effect = 'block') AS blocked,
            max(b.prefix) FILTER (WHERE b.effect = 'exempt') AS exempt
        FROM tenant_prefix AS b
        WHERE b.tenant_id = p_tenant_id AND b.prefix = ANY(number.prefixes)
    ) AS own
    LEFT JOIN LATERAL (
        SELECT
            d.deck_id,
            d.name,
            r.prefix,
            r.regions,
            d.currency,
            r.price_micros,
            r.connect_fee_micros,
            r.initial_increment_seconds,
            r.increment_seconds
        FROM rate_deck AS d
        CROSS JOIN LATERAL rate_at(d.deck_id, p_e164, coalesce(p_rates_at, p_at)) AS r
        WHERE
            d.deck_id = coalesce(
                p_deck_id,
                (SELECT t.rate_deck_id FROM tenant AS t WHERE t.tenant_id = p_tenant_id)
            )
    ) AS longest ON true
$$;

-- destination_facts(tenant_id, e164, region, at) -> in_zone_a, rate
--
-- What the reference data says of a destination at an instant: whether its country is in
-- Zone A, and the rate of the longest prefix in the tenant's deck. Null rate: the deck has
-- none, or the tenant has no deck. Always one row.
--
-- The prefixes of one number are at most 15, so each is looked for by its key.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.destination_facts(
    p_tenant_id uuid, p_e164 text, p_region text, p_at timestamptz
)
RETURNS TABLE (
    in_zone_a boolean,
    deck_id integer,
    prefix text,
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
        EXISTS (
            SELECT FROM zone_member AS z
            WHERE
                z.zone = 'zone_a' AND z.region = p_region
                AND z.valid_from <= p_at AND p_at < z.valid_to
        ),
        longest.*
    FROM (SELECT ltrim(p_e164, '+') AS digits) AS number
    LEFT JOIN LATERAL (
        SELECT
            r.deck_id,
            r.prefix,
            t.currency,
            r.price_micros,
            r.connect_fee_micros,
            r.initial_increment_seconds,
            r.increment_seconds
        FROM tenant AS t
        INNER JOIN rate AS r ON t.rate_deck_id = r.deck_id
        WHERE
            t.tenant_id = p_tenant_id
            AND r.prefix = ANY(
                ARRAY(
                    SELECT left(number.digits, n)
                    FROM generate_series(1, least(15, length(number.digits))) AS n
                )
            )
            AND r.valid_from <= p_at AND p_at < r.valid_to
        ORDER BY length(r.prefix) DESC
        LIMIT 1
    ) AS longest ON true
$$;

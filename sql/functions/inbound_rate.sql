-- inbound_rate(tenant_id, e164, at) -> deck_id, deck, prefix, regions, currency, price_micros,
--     connect_fee_micros, initial_increment_seconds, increment_seconds
--
-- What a telephone that calls a service number costs at an instant, by the tenant's deck for
-- such calls. No row: the tenant has no such deck, or the deck no rate for the number.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.inbound_rate(
    p_tenant_id uuid, p_e164 text, p_at timestamptz
)
RETURNS TABLE (
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
        d.deck_id,
        d.name,
        r.prefix,
        r.regions,
        d.currency,
        r.price_micros,
        r.connect_fee_micros,
        r.initial_increment_seconds,
        r.increment_seconds
    FROM tenant AS t
    INNER JOIN rate_deck AS d ON t.inbound_deck_id = d.deck_id
    CROSS JOIN LATERAL rate_at(d.deck_id, p_e164, p_at) AS r
    WHERE t.tenant_id = p_tenant_id
$$;

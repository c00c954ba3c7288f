-- tenant_create(tenant_id, name, time_zone, anchor_day, currency, rate_deck_id, inbound_deck_id)
--     -> outcome
--
-- Makes a tenant known, with the default of every choice and the limits of a new tenant. Its
-- time zone and its anchor day decide where its months begin, and its currency what its
-- credits are; none can change later, because balances rest on them. The inbound deck prices
-- the telephones that call in, by the service number that they dial.
--
-- Outcomes. The first that applies is returned; all but `created` write nothing.
--   exists                       this tenant is known, on these terms
--   exists_with_different_terms  this tenant is known, on other terms
--   unknown_time_zone            the time zone is not in the IANA database
--   unknown_rate_deck            no such deck, of one of the two
--   rate_deck_currency_differs   a deck is in another currency
--   created                      the tenant is known now
--
-- Retries: safe. tenant_id is the idempotency key.
-- Raises:  23514 if the name, the anchor day or the currency has no possible form.
CREATE OR REPLACE FUNCTION dialout.tenant_create(
    p_tenant_id uuid,
    p_name text,
    p_time_zone text,
    p_anchor_day integer,
    p_currency text,
    p_rate_deck_id integer,
    p_inbound_deck_id integer
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_tenant tenant;
    v_fault text;
BEGIN
    IF NOT EXISTS (SELECT FROM tenant AS t WHERE t.tenant_id = p_tenant_id) THEN
        IF NOT EXISTS (SELECT FROM pg_timezone_names AS z WHERE z.name = p_time_zone) THEN
            RETURN 'unknown_time_zone';
        END IF;
        v_fault := rate_decks_fault(ARRAY[p_rate_deck_id, p_inbound_deck_id], p_currency);
        IF v_fault IS NOT null THEN
            RETURN v_fault;
        END IF;
        INSERT INTO tenant (
            tenant_id, name, time_zone, anchor_day, currency, rate_deck_id, inbound_deck_id
        )
        VALUES (
            p_tenant_id, p_name, p_time_zone, p_anchor_day, p_currency, p_rate_deck_id,
            p_inbound_deck_id
        )
        ON CONFLICT DO NOTHING;
        IF found THEN
            INSERT INTO tenant_policy (tenant_id) VALUES (p_tenant_id);
            -- Those of gateway/core/limits.py; a test compares them.
            INSERT INTO call_limit (tenant_id, scope, subject, kind, most, mode)
            VALUES
                (p_tenant_id, 'organizer', '', 'concurrent_calls', 250, 'refuse'),
                (p_tenant_id, 'organizer', '', 'callees_a_day', 250, 'observe');
            RETURN 'created';
        END IF;
    END IF;
    SELECT t.* INTO STRICT v_tenant FROM tenant AS t WHERE t.tenant_id = p_tenant_id;
    IF v_tenant.name = p_name
        AND v_tenant.time_zone = p_time_zone
        AND v_tenant.anchor_day = p_anchor_day
        AND v_tenant.currency = p_currency
        AND (v_tenant.rate_deck_id, v_tenant.inbound_deck_id)
        IS NOT DISTINCT FROM (p_rate_deck_id, p_inbound_deck_id)
    THEN
        RETURN 'exists';
    END IF;
    RETURN 'exists_with_different_terms';
END
$$;

-- tenant_update(tenant_id, suspended, rate_deck_id) -> outcome
--
-- Changes what may change of a tenant: whether it is suspended, and the deck that prices
-- its calls from now on. Calls that are already reserved keep their terms.
--
-- Outcomes. The first that applies is returned; all but `updated` write nothing.
--   unknown_tenant              no such tenant
--   unknown_rate_deck           no such deck
--   rate_deck_currency_differs  the deck is not in the tenant's currency
--   unchanged                   it is so already
--   updated                     it is so now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the tenant's row.
CREATE OR REPLACE FUNCTION dialout.tenant_update(
    p_tenant_id uuid, p_suspended boolean, p_rate_deck_id integer
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_tenant tenant;
    v_deck_currency text;
BEGIN
    SELECT t.* INTO v_tenant
    FROM tenant AS t
    WHERE t.tenant_id = p_tenant_id
    FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    SELECT d.currency INTO v_deck_currency FROM rate_deck AS d WHERE d.deck_id = p_rate_deck_id;
    IF p_rate_deck_id IS NOT null AND v_deck_currency IS null THEN
        RETURN 'unknown_rate_deck';
    END IF;
    IF v_deck_currency <> v_tenant.currency THEN
        RETURN 'rate_deck_currency_differs';
    END IF;
    IF (v_tenant.suspended, v_tenant.rate_deck_id)
        IS NOT DISTINCT FROM (p_suspended, p_rate_deck_id)
    THEN
        RETURN 'unchanged';
    END IF;

    -- From here on the change must succeed.
    UPDATE tenant AS t
    SET suspended = p_suspended, rate_deck_id = p_rate_deck_id
    WHERE t.tenant_id = p_tenant_id;
    RETURN 'updated';
END
$$;

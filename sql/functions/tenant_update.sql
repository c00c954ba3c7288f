-- tenant_update(tenant_id, suspended, rate_deck_id, inbound_deck_id) -> outcome
--
-- Changes what may change of a tenant: whether it is suspended, and the decks that price its
-- calls, out and in, from now on. Calls that are already reserved keep their terms.
--
-- Outcomes. The first that applies is returned; all but `updated` write nothing.
--   unknown_tenant              no such tenant
--   unknown_rate_deck           no such deck, of one of the two
--   rate_deck_currency_differs  a deck is not in the tenant's currency
--   unchanged                   it is so already
--   updated                     it is so now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the tenant's row.
CREATE OR REPLACE FUNCTION dialout.tenant_update(
    p_tenant_id uuid, p_suspended boolean, p_rate_deck_id integer, p_inbound_deck_id integer
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_tenant tenant;
    v_fault text;
BEGIN
    SELECT t.* INTO v_tenant
    FROM tenant AS t
    WHERE t.tenant_id = p_tenant_id
    FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    v_fault := rate_decks_fault(ARRAY[p_rate_deck_id, p_inbound_deck_id], v_tenant.currency);
    IF v_fault IS NOT null THEN
        RETURN v_fault;
    END IF;
    IF (v_tenant.suspended, v_tenant.rate_deck_id, v_tenant.inbound_deck_id)
        IS NOT DISTINCT FROM (p_suspended, p_rate_deck_id, p_inbound_deck_id)
    THEN
        RETURN 'unchanged';
    END IF;

    -- From here on the change must succeed.
    UPDATE tenant AS t
    SET
        suspended = p_suspended,
        rate_deck_id = p_rate_deck_id,
        inbound_deck_id = p_inbound_deck_id
    WHERE t.tenant_id = p_tenant_id;
    RETURN 'updated';
END
$$;

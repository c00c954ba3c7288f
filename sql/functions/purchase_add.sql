-- purchase_add(tenant_id, purchase_id, sku, quantity, channel, segment, valid_from, valid_to,
--              at) -> outcome
--
-- Records licences that a tenant bought for a time, whoever is to hold them; a null valid_to
-- is without end. They bring minutes where the tenant's choice pool_basis says so.
--
-- Outcomes. The first that applies is returned; all but `added` write nothing.
--   unknown_tenant               no such tenant
--   exists                       this purchase was recorded before
--   exists_with_different_terms  another one was recorded under this purchase_id
--   ends_before_it_starts        it would never be valid
--   channel_segment_mismatch     EES is for education alone
--   added                        the purchase is on record
--
-- Retries: safe. purchase_id is the idempotency key, chosen by whoever sold it.
-- Locks:   the tenant's row, then the sources that the purchase brings minutes into.
-- Raises:  23502 or 23514 if the SKU, the quantity, the channel or the segment has no possible
--          form.
CREATE OR REPLACE FUNCTION dialout.purchase_add(
    p_tenant_id uuid,
    p_purchase_id uuid,
    p_sku text,
    p_quantity integer,
    p_channel text,
    p_segment text,
    p_valid_from timestamptz,
    p_valid_to timestamptz,
    p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_purchase purchase := ROW(
        p_tenant_id, p_purchase_id, p_sku, p_quantity, p_channel, p_segment,
        p_valid_from, coalesce(p_valid_to, 'infinity')
    );
    v_stored purchase;
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN 'unknown_tenant';
    END IF;
    SELECT p.* INTO v_stored
    FROM purchase AS p
    WHERE p.tenant_id = p_tenant_id AND p.purchase_id = p_purchase_id;
    IF found THEN
        RETURN CASE v_stored WHEN v_purchase THEN 'exists' ELSE 'exists_with_different_terms' END;
    END IF;
    IF v_purchase.valid_to <= p_valid_from THEN
        RETURN 'ends_before_it_starts';
    END IF;
    IF p_channel = 'ees' AND p_segment <> 'education' THEN
        RETURN 'channel_segment_mismatch';
    END IF;

    -- From here on the purchase must be recorded.
    INSERT INTO purchase SELECT v_purchase.*;
    PERFORM benefits_recount(p_tenant_id, p_sku, p_at);
    RETURN 'added';
END
$$;

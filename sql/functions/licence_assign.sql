-- licence_assign(tenant_id, organizer_id, sku, valid_from, valid_to, at) -> outcome
--
-- Gives an organizer a licence for a time; a null valid_to is without end. What it brings
-- into the pool of the month of p_at is there at once, if that pool is open and the licence
-- has started; otherwise when the pool is opened, or when the licence starts.
--
-- Outcomes. The first that applies is returned; all but `assigned` write nothing.
--   unknown_organizer            no such organizer in this tenant
--   exists                       the organizer has this licence
--   exists_with_different_terms  the same licence, from the same instant, to another one
--   assigned                     the organizer has the licence now
--
-- Retries: safe. Organizer, SKU and valid_from are the idempotency key.
-- Locks:   the tenant's row, then the pool.
-- Raises:  23514 if the SKU is unknown or the licence ends before it starts.
CREATE OR REPLACE FUNCTION dialout.licence_assign(
    p_tenant_id uuid,
    p_organizer_id text,
    p_sku text,
    p_valid_from timestamptz,
    p_valid_to timestamptz,
    p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_to timestamptz := coalesce(p_valid_to, 'infinity');
    v_stored_to timestamptz;
BEGIN
    PERFORM
    FROM tenant AS t
    INNER JOIN organizer AS o ON t.tenant_id = o.tenant_id
    WHERE t.tenant_id = p_tenant_id AND o.organizer_id = p_organizer_id
    FOR NO KEY UPDATE OF t;
    IF NOT found THEN
        RETURN 'unknown_organizer';
    END IF;
    SELECT l.valid_to INTO v_stored_to
    FROM licence AS l
    WHERE
        l.tenant_id = p_tenant_id AND l.organizer_id = p_organizer_id
        AND l.sku = p_sku AND l.valid_from = p_valid_from;
    IF found THEN
        RETURN CASE v_stored_to WHEN v_to THEN 'exists' ELSE 'exists_with_different_terms' END;
    END IF;

    -- From here on the assignment must succeed.
    INSERT INTO licence (tenant_id, organizer_id, sku, valid_from, valid_to)
    VALUES (p_tenant_id, p_organizer_id, p_sku, p_valid_from, v_to);
    PERFORM pool_recount(p_tenant_id, s.source_id, p_at)
    FROM source AS s
    WHERE
        s.tenant_id = p_tenant_id AND s.kind = 'pool'
        AND s.valid_from <= p_at AND p_at < s.valid_to;
    RETURN 'assigned';
END
$$;

-- licence_assign(tenant_id, organizer_id, sku, valid_from, valid_to, channel, segment,
--                forced_by, forced_because, at) -> outcome
--
-- Gives an organizer a licence for a time; a null valid_to is without end. The minutes that
-- it brings are there at once, if it has started by p_at and somebody has asked for such
-- minutes before; otherwise when they are asked for, or when the licence starts.
--
-- With a reason to force it, the licence is assigned although it is not sold or lacks its
-- prerequisite, and the row says who did so and why.
--
-- Outcomes. The first that applies is returned; all but `assigned` write nothing.
--   unknown_organizer            no such organizer in this tenant
--   exists                       the organizer has this licence
--   exists_with_different_terms  the same licence, from the same instant, on other terms
--   ends_before_it_starts        it would never be valid
--   channel_segment_mismatch     EES is for education alone
--   overlaps                     the organizer has this SKU for a part of the time already
--   not_sold                     not in the organizer's country, says the edition of the
--                                availability that the tenant has chosen
--   prerequisite_missing         the add-on, without Audio Conferencing at some instant
--   assigned                     the organizer has the licence now
--
-- Retries: safe. Organizer, SKU and valid_from are the idempotency key.
-- Locks:   the tenant's row, then the sources that the licence brings minutes into.
-- Raises:  22023 without a channel or a segment; 23514 if one of them or the SKU is unknown,
--          or it is forced by nobody or for no reason. Bugs in the caller.
CREATE OR REPLACE FUNCTION dialout.licence_assign(
    p_tenant_id uuid,
    p_organizer_id text,
    p_sku text,
    p_valid_from timestamptz,
    p_valid_to timestamptz,
    p_channel text,
    p_segment text,
    p_forced_by text,
    p_forced_because text,
    p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_to timestamptz := coalesce(p_valid_to, 'infinity');
    v_licence licence;
    v_refusal text;
BEGIN
    IF num_nulls(p_channel, p_segment) > 0 THEN
        RAISE EXCEPTION 'a licence that nobody sold' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM
    FROM tenant AS t
    INNER JOIN organizer AS o ON t.tenant_id = o.tenant_id
    WHERE t.tenant_id = p_tenant_id AND o.organizer_id = p_organizer_id
    FOR NO KEY UPDATE OF t;
    IF NOT found THEN
        RETURN 'unknown_organizer';
    END IF;
    SELECT l.* INTO v_licence
    FROM licence AS l
    WHERE
        l.tenant_id = p_tenant_id AND l.organizer_id = p_organizer_id
        AND l.sku = p_sku AND l.valid_from = p_valid_from;
    IF found THEN
        RETURN CASE
            WHEN (v_licence.valid_to, v_licence.channel, v_licence.segment)
                IS NOT DISTINCT FROM (v_to, p_channel, p_segment)
                THEN 'exists'
            ELSE 'exists_with_different_terms'
        END;
    END IF;
    IF v_to <= p_valid_from THEN
        RETURN 'ends_before_it_starts';
    END IF;
    IF p_channel = 'ees' AND p_segment <> 'education' THEN
        RETURN 'channel_segment_mismatch';
    END IF;
    v_refusal := licence_refusal(
        p_tenant_id, p_organizer_id, p_sku, p_valid_from, v_to, p_forced_because IS NOT null
    );
    IF v_refusal IS NOT null THEN
        RETURN v_refusal;
    END IF;

    -- From here on the assignment must succeed.
    INSERT INTO licence (
        tenant_id, organizer_id, sku, valid_from, valid_to,
        channel, segment, forced_by, forced_because
    )
    VALUES (
        p_tenant_id, p_organizer_id, p_sku, p_valid_from, v_to,
        p_channel, p_segment, p_forced_by, p_forced_because
    );
    PERFORM benefits_recount(p_tenant_id, p_sku, p_at);
    RETURN 'assigned';
END
$$;

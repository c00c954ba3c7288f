-- licence_end(tenant_id, organizer_id, sku, valid_from, valid_to, forced_by, forced_because,
--             at) -> outcome
--
-- Moves the end of the licence that starts at valid_from: earlier, or later; a null valid_to
-- is without end. Minutes that it brought are never taken back: they may already be used.
-- What is made longer must be allowed as a new licence is.
--
-- Outcomes. The first that applies is returned; all but `changed` write nothing. The last
-- three refusals give way to a reason to force it, and the row says who did so and why.
--   unknown_licence        no such licence
--   unchanged              it ends there already
--   ends_before_it_starts  it would never be valid
--   overlaps               the organizer has this SKU for a part of the time already
--   not_sold               it would be longer, and is not sold in the organizer's country
--   prerequisite_missing   the add-on would be longer, without Audio Conferencing at some
--                          instant
--   needed_by_addon        it would be shorter, and an add-on lose its prerequisite
--   changed                it ends there now
--
-- Retries: safe. The second one gets `unchanged`.
-- Locks:   the tenant's row, then the sources that the licence brings minutes into.
-- Raises:  23514 if it is forced by nobody or for no reason. That is a bug in the caller.
CREATE OR REPLACE FUNCTION dialout.licence_end(
    p_tenant_id uuid,
    p_organizer_id text,
    p_sku text,
    p_valid_from timestamptz,
    p_valid_to timestamptz,
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
    v_forced boolean := p_forced_because IS NOT null;
    v_licence licence;
    v_refusal text;
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    SELECT l.* INTO v_licence
    FROM licence AS l
    WHERE
        l.tenant_id = p_tenant_id AND l.organizer_id = p_organizer_id
        AND l.sku = p_sku AND l.valid_from = p_valid_from;
    IF NOT found THEN
        RETURN 'unknown_licence';
    END IF;
    IF v_to = v_licence.valid_to THEN
        RETURN 'unchanged';
    END IF;
    IF v_to <= p_valid_from THEN
        RETURN 'ends_before_it_starts';
    END IF;
    IF v_to > v_licence.valid_to THEN
        v_refusal := licence_refusal(
            p_tenant_id, p_organizer_id, p_sku, p_valid_from, v_to, v_forced
        );
    ELSIF NOT v_forced AND licence_needed(v_licence, v_to) THEN
        v_refusal := 'needed_by_addon';
    END IF;
    IF v_refusal IS NOT null THEN
        RETURN v_refusal;
    END IF;

    -- From here on the change must succeed.
    UPDATE licence AS l
    SET
        valid_to = v_to,
        forced_by = coalesce(p_forced_by, l.forced_by),
        forced_because = coalesce(p_forced_because, l.forced_because)
    WHERE
        l.tenant_id = p_tenant_id AND l.organizer_id = p_organizer_id
        AND l.sku = p_sku AND l.valid_from = p_valid_from;
    PERFORM benefits_recount(p_tenant_id, p_sku, p_at);
    RETURN 'changed';
END
$$;

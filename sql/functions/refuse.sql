-- refuse(tenant_id, dial_out_id, request, number, reason, explanation, at, bridge, sources,
--        blocks)
--     -> outcome, record
--
-- Records a dial-out that policy has refused, or that no source could pay for, so that every
-- answer can be explained and asking again with the same id gets the same answer. p_sources
-- is what the sources had; null if none was asked. p_blocks has the organizer blocked until
-- somebody lifts that: a limit was reached that says so.
--
-- Outcomes. The first that applies is returned; all but `refused` write nothing.
--   unknown_tenant               no such tenant, so nowhere to record it; no record
--   exists                       this request is already recorded, refused or not
--   exists_with_different_terms  another request has this id
--   refused                      it is recorded
--
-- Retries: safe. The dial-out's id is the idempotency key.
-- Locks:   the tenant's row, as reserve does: two requests with one id must not both find
--          the id unused.
-- Raises:  23514 if the reason is missing, 23503 if it is none. Both are bugs in the caller.
CREATE OR REPLACE FUNCTION dialout.refuse(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_kind text,
    p_organizer_id text,
    p_initiator_id text,
    p_conference_id text,
    p_number_typed text,
    p_destination text,
    p_region text,
    p_number_kind text,
    p_reason text,
    p_explanation json,
    p_at timestamptz,
    p_bridge text,
    p_sources json DEFAULT null,
    p_blocks boolean DEFAULT false
)
RETURNS TABLE (outcome text, record dial_out_record)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM FROM tenant AS t WHERE t.tenant_id = p_tenant_id FOR NO KEY UPDATE;
    IF NOT found THEN
        RETURN QUERY SELECT 'unknown_tenant', null::dial_out_record;
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM request_stored(
        p_tenant_id, p_dial_out_id,
        p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed
    );
    IF found THEN
        RETURN;
    END IF;

    -- From here on the refusal must succeed.
    INSERT INTO dial_out (
        tenant_id, dial_out_id,
        kind, organizer_id, initiator_id, conference_id, number_typed,
        state, reason, destination, region, number_kind, requested_at, explanation,
        sources, bridge
    )
    VALUES (
        p_tenant_id, p_dial_out_id,
        p_kind, p_organizer_id, p_initiator_id, p_conference_id, p_number_typed,
        'refused', p_reason, p_destination, p_region, p_number_kind, p_at, p_explanation,
        p_sources, p_bridge
    );
    PERFORM source_short(p_tenant_id, p_organizer_id, p_reason, p_at);
    IF p_blocks THEN
        PERFORM organizer_block_add(p_tenant_id, p_organizer_id, 'gateway', p_reason, p_at);
    END IF;
    RETURN QUERY
    SELECT 'refused', r
    FROM dial_out_record AS r
    WHERE
        r.tenant_id = p_tenant_id AND r.dial_out_id = p_dial_out_id AND r.requested_at = p_at;
END
$$;

-- request_stored(tenant_id, dial_out_id, request) -> outcome, record
--
-- What is stored under an id that somebody asks for (again); no row if nothing is.
--
-- Outcomes.
--   exists                       the same request; the record is what became of it
--   exists_with_different_terms  another request has this id; the record is that one
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.request_stored(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_kind text,
    p_organizer_id text,
    p_initiator_id text,
    p_conference_id text,
    p_number_typed text
)
RETURNS TABLE (outcome text, record dial_out_record)
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_requested_at timestamptz := requested_at_of(p_tenant_id, p_dial_out_id);
BEGIN
    IF v_requested_at IS null THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT
        CASE
            WHEN
                r.kind = p_kind
                AND r.organizer_id = p_organizer_id
                AND r.initiator_id IS NOT DISTINCT FROM p_initiator_id
                AND r.conference_id = p_conference_id
                AND r.number_typed = p_number_typed
                THEN 'exists'
            ELSE 'exists_with_different_terms'
        END,
        r
    FROM dial_out_record AS r
    WHERE
        r.tenant_id = p_tenant_id AND r.dial_out_id = p_dial_out_id
        AND r.requested_at = v_requested_at;
END
$$;

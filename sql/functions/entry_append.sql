-- entry_append(tenant_id, source_id, kind, deltas, grant_id | part, at)
--
-- Writes one entry of the journal and changes its source's totals by the same deltas. The
-- only function that changes a total, so that no total can change without its entry.
--
-- Retries: none of its own; a step of the functions that grant, reserve and end, which
--          know what was done before.
-- Locks:   the source. Callers that touch several have locked them by sources_lock.
-- Raises:  23514 if the source would be overdrawn. The caller has checked, so it is a bug.
CREATE OR REPLACE FUNCTION dialout.entry_append(
    p_tenant_id uuid,
    p_source_id uuid,
    p_kind text,
    p_at timestamptz,
    p_granted_delta bigint DEFAULT 0,
    p_used_delta bigint DEFAULT 0,
    p_reserved_delta bigint DEFAULT 0,
    p_grant_id uuid DEFAULT null,
    p_dial_out_id uuid DEFAULT null,
    p_slice smallint DEFAULT null,
    p_part smallint DEFAULT null
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    INSERT INTO entry (
        tenant_id, source_id, kind, granted_delta, used_delta, reserved_delta,
        grant_id, dial_out_id, slice, part, at
    )
    VALUES (
        p_tenant_id, p_source_id, p_kind, p_granted_delta, p_used_delta, p_reserved_delta,
        p_grant_id, p_dial_out_id, p_slice, p_part, p_at
    );
    UPDATE source AS s
    SET
        granted = s.granted + p_granted_delta,
        used = s.used + p_used_delta,
        reserved = s.reserved + p_reserved_delta
    WHERE s.tenant_id = p_tenant_id AND s.source_id = p_source_id;
END
$$;

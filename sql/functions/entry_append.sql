-- entry_append(tenant_id, source_id, kind, filed_at, at, deltas, part)
--
-- Writes one entry of the journal, joined to the tenant's last one of that month, and changes
-- its source's totals by the same deltas. The only function that changes a total, so that no
-- total can change without its entry. What others must hear of a total is told with it.
--
-- Retries: none of its own; a step of the functions that grant, reserve and end, which
--          know what was done before.
-- Locks:   the source, then the tenant's chain of the month. Callers have locked their
--          sources by sources_lock; nothing is locked after a chain but, by whoever holds
--          the tenant's row, another one.
-- Raises:  23514 if the source would be overdrawn. The caller has checked, so it is a bug.
CREATE OR REPLACE FUNCTION dialout.entry_append(
    p_tenant_id uuid,
    p_source_id uuid,
    p_kind text,
    p_filed_at timestamptz,
    p_at timestamptz,
    p_granted_delta bigint DEFAULT 0,
    p_used_delta bigint DEFAULT 0,
    p_reserved_delta bigint DEFAULT 0,
    p_dial_out_id uuid DEFAULT null,
    p_slice smallint DEFAULT null,
    p_part smallint DEFAULT null
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_chain chain := chain_lock(p_tenant_id, date_trunc('month', p_filed_at, 'UTC'));
    v_entry entry;
    v_source source;
BEGIN
    v_entry.tenant_id := p_tenant_id;
    v_entry.filed_at := p_filed_at;
    v_entry.number := v_chain.number + 1;
    v_entry.source_id := p_source_id;
    v_entry.kind := p_kind;
    v_entry.granted_delta := p_granted_delta;
    v_entry.used_delta := p_used_delta;
    v_entry.reserved_delta := p_reserved_delta;
    v_entry.dial_out_id := p_dial_out_id;
    v_entry.slice := p_slice;
    v_entry.part := p_part;
    v_entry.at := p_at;
    v_entry.written_at := clock_timestamp();
    v_entry.digest := entry_digest(v_chain.digest, v_entry);
    INSERT INTO entry VALUES (v_entry.*);
    UPDATE chain AS c
    SET number = v_entry.number, digest = v_entry.digest
    WHERE c.tenant_id = p_tenant_id AND c.month = v_chain.month;
    UPDATE source AS s
    SET
        granted = s.granted + p_granted_delta,
        used = s.used + p_used_delta,
        reserved = s.reserved + p_reserved_delta
    WHERE s.tenant_id = p_tenant_id AND s.source_id = p_source_id
    RETURNING s.* INTO STRICT v_source;
    IF p_used_delta > 0 AND v_source.used * 5 >= v_source.granted * 4 THEN
        PERFORM source_used(v_source, p_used_delta, p_at);
    ELSIF p_reserved_delta > 0 AND v_source.free < v_source.recharge_below THEN
        PERFORM recharge_request(p_tenant_id, p_at);
    END IF;
END
$$;

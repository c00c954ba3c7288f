-- parts_void(tenant_id, dial_out_id, filed_at, at, kind)
--
-- Gives back all that is set aside for a dial-out, by `void` or, where nobody came for it in
-- time, by `expire`.
--
-- Retries: none of its own; a step of void, which comes here once.
-- Locks:   the sources, in the order of their ids; then the chain.
CREATE OR REPLACE FUNCTION dialout.parts_void(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_filed_at timestamptz,
    p_at timestamptz,
    p_kind text
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_draw record;
BEGIN
    PERFORM parts_lock(p_tenant_id, p_dial_out_id, p_filed_at);
    FOR v_draw IN
        SELECT e.source_id, e.slice, e.part, e.reserved_delta AS amount
        FROM entry AS e
        WHERE
            e.tenant_id = p_tenant_id AND e.dial_out_id = p_dial_out_id
            AND e.filed_at = p_filed_at AND e.kind = 'reserve'
        ORDER BY e.number
    LOOP
        PERFORM entry_append(
            p_tenant_id, v_draw.source_id, p_kind, p_filed_at, p_at,
            p_reserved_delta => -v_draw.amount,
            p_dial_out_id => p_dial_out_id, p_slice => v_draw.slice, p_part => v_draw.part
        );
    END LOOP;
END
$$;

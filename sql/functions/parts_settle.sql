-- parts_settle(tenant_id, dial_out_id, filed_at, parts, seconds, at)
--
-- Books what each part of a call has paid: so many seconds of each, and what they cost.
-- Whatever was set aside is ended, entry by entry: what was used stays used, the rest goes
-- back to where it came from. Of lots, the one that lapses first is used first.
--
-- Retries: none of its own; a step of settle, which comes here once.
-- Locks:   the sources, in the order of their ids; then the chain.
CREATE OR REPLACE FUNCTION dialout.parts_settle(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_filed_at timestamptz,
    p_parts part[],
    p_seconds integer[],
    p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_costs bigint[];
    v_micros_left bigint;
    v_draw record;
    v_used bigint;
BEGIN
    PERFORM parts_lock(p_tenant_id, p_dial_out_id, p_filed_at);
    v_costs := cost_parts(
        p_seconds,
        ARRAY(SELECT p.rate FROM unnest(p_parts) AS p ORDER BY p.begins_at, p.slice, p.part)
    );
    FOR v_place IN 1..cardinality(p_parts) LOOP
        INSERT INTO charge (tenant_id, dial_out_id, filed_at, slice, part, seconds, micros)
        VALUES (
            p_tenant_id, p_dial_out_id, p_filed_at,
            (p_parts[v_place]).slice, (p_parts[v_place]).part,
            p_seconds[v_place], v_costs[v_place]
        );
    END LOOP;

    SELECT sum(c) INTO v_micros_left FROM unnest(v_costs) AS c;
    FOR v_draw IN
        SELECT e.source_id, e.slice, e.part, e.reserved_delta AS amount, s.unit, b.seconds
        FROM entry AS e
        INNER JOIN source AS s ON e.tenant_id = s.tenant_id AND e.source_id = s.source_id
        INNER JOIN charge AS b
            ON
                e.tenant_id = b.tenant_id AND e.dial_out_id = b.dial_out_id
                AND e.filed_at = b.filed_at AND e.slice = b.slice AND e.part = b.part
        WHERE
            e.tenant_id = p_tenant_id AND e.dial_out_id = p_dial_out_id
            AND e.filed_at = p_filed_at AND e.kind = 'reserve'
        ORDER BY s.valid_to, s.valid_from, s.source_id, e.slice, e.part
    LOOP
        IF v_draw.unit = 'seconds' THEN
            v_used := v_draw.seconds;
        ELSE
            v_used := least(v_draw.amount, v_micros_left);
            v_micros_left := v_micros_left - v_used;
        END IF;
        PERFORM entry_append(
            p_tenant_id, v_draw.source_id, 'settle', p_filed_at, p_at,
            p_used_delta => v_used, p_reserved_delta => -v_draw.amount,
            p_dial_out_id => p_dial_out_id, p_slice => v_draw.slice, p_part => v_draw.part
        );
    END LOOP;
END
$$;

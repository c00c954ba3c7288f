-- slice_append(tenant_id, dial_out_id, filed_at, slice, funding, at)
--
-- Sets one slice of a call aside as fund() has proposed: its parts, each with a copy of the
-- rate that it will be settled at, and an entry in the journal for what each draws on a
-- source. A source that is not capped is first granted what it lacks, so that what it has
-- always adds up.
--
-- Retries: none of its own; a step of reserve and extend.
-- Locks:   the sources, which fund() has locked before; then the chain.
CREATE OR REPLACE FUNCTION dialout.slice_append(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_filed_at timestamptz,
    p_slice integer,
    p_funding funding,
    p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_draw draw;
    v_lacking bigint;
BEGIN
    INSERT INTO part (
        tenant_id, dial_out_id, filed_at, slice, part, kind, benefit_id, source_id, seconds,
        micros, rate, begins_at, from_at, to_at, at
    )
    SELECT
        p_tenant_id, p_dial_out_id, p_filed_at, p_slice, p.part, p.kind, p.benefit_id,
        p.source_id, p.seconds, p.micros, p.rate, p.begins_at, p.from_at, p.to_at, p_at
    FROM unnest(p_funding.parts) AS p;

    FOREACH v_draw IN ARRAY p_funding.draws LOOP
        SELECT v_draw.amount - s.free INTO v_lacking
        FROM source AS s
        WHERE s.tenant_id = p_tenant_id AND s.source_id = v_draw.source_id AND NOT s.capped;
        IF v_lacking > 0 THEN
            PERFORM entry_append(
                p_tenant_id, v_draw.source_id, 'grant', p_filed_at, p_at,
                p_granted_delta => v_lacking
            );
        END IF;
        PERFORM entry_append(
            p_tenant_id, v_draw.source_id, 'reserve', p_filed_at, p_at,
            p_reserved_delta => v_draw.amount,
            p_dial_out_id => p_dial_out_id,
            p_slice => p_slice::smallint, p_part => v_draw.part
        );
    END LOOP;
END
$$;

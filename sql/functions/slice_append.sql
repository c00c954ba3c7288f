-- slice_append(tenant_id, dial_out_id, slice, parts, rate, at)
--
-- Sets one slice of a call aside, by the parts that fund() has proposed, each with its
-- entry in the journal and a copy of the rate that it will be settled at. A source that is
-- not capped is first granted what it lacks, so that what it has always adds up.
--
-- Retries: none of its own; a step of reserve.
-- Locks:   the sources, which fund() has locked before.
CREATE OR REPLACE FUNCTION dialout.slice_append(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_slice smallint,
    p_parts part_proposal[],
    p_rate rate_terms,
    p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_part record;
BEGIN
    INSERT INTO reservation (tenant_id, dial_out_id, slice, seconds, at)
    SELECT p_tenant_id, p_dial_out_id, p_slice, sum(p.seconds), p_at
    FROM unnest(p_parts) AS p;

    INSERT INTO reservation_part (
        tenant_id, dial_out_id, slice, part, source_id, seconds, micros, rate
    )
    SELECT
        p_tenant_id, p_dial_out_id, p_slice, p.part, p.source_id, p.seconds, p.micros,
        CASE s.unit WHEN 'micros' THEN p_rate END
    FROM unnest(p_parts) AS p
    INNER JOIN source AS s ON p.source_id = s.source_id AND s.tenant_id = p_tenant_id;

    FOR v_part IN
        SELECT
            p.*,
            NOT s.capped AND p.amount > s.free AS lacks,
            p.amount - s.free AS lacking
        FROM unnest(p_parts) AS p
        INNER JOIN source AS s ON p.source_id = s.source_id AND s.tenant_id = p_tenant_id
        ORDER BY p.part
    LOOP
        IF v_part.lacks THEN
            PERFORM entry_append(
                p_tenant_id, v_part.source_id, 'grant', p_at, p_granted_delta => v_part.lacking
            );
        END IF;
        PERFORM entry_append(
            p_tenant_id, v_part.source_id, 'reserve', p_at,
            p_reserved_delta => v_part.amount,
            p_dial_out_id => p_dial_out_id, p_slice => p_slice, p_part => v_part.part
        );
    END LOOP;
END
$$;

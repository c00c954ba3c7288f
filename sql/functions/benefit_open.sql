-- benefit_open(tenant_id, time_zone, benefit_id, organizer_id, at) -> source_id
--
-- Makes sure that a benefit has the source that pays at p_at: one for each calendar month of
-- the tenant's time zone, within the benefit's own period. So the sources valid at an
-- instant are those of the benefits in force. p_organizer_id is null for what the whole
-- tenant shares.
--
-- Nothing has to run at midnight: the first call of a month opens its source. What was left
-- of the month before stays where it is; there is no rollover. A new source is due to be
-- counted, and so is that of a benefit which was prolonged within the month.
--
-- Retries: safe. A source that is open stays as it is.
-- Locks:   the source, if it is new or prolonged. The caller holds the tenant's row.
-- Raises:  P0002 if no such benefit is in force, 23514 if it is not one of the tenant's or
--          of an organizer's, as asked. Both are bugs in the caller.
CREATE OR REPLACE FUNCTION dialout.benefit_open(
    p_tenant_id uuid,
    p_time_zone text,
    p_benefit_id text,
    p_organizer_id text,
    p_at timestamptz
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_month timestamp := date_trunc('month', p_at AT TIME ZONE p_time_zone);
    v_benefit benefit;
    v_source_id uuid;
BEGIN
    SELECT s.source_id INTO v_source_id
    FROM source AS s
    WHERE
        s.tenant_id = p_tenant_id
        AND s.benefit_id = p_benefit_id
        AND coalesce(s.organizer_id, '') = coalesce(p_organizer_id, '')
        AND s.valid_from <= p_at AND p_at < s.valid_to;
    IF found THEN
        RETURN v_source_id;
    END IF;

    SELECT b.* INTO STRICT v_benefit
    FROM benefit AS b
    WHERE b.benefit_id = p_benefit_id AND b.valid_from <= p_at AND p_at < b.valid_to;
    INSERT INTO source (
        tenant_id, kind, unit, benefit_id, organizer_id, capped, valid_from, valid_to, recount_at
    )
    VALUES (
        p_tenant_id, v_benefit.kind, 'seconds', p_benefit_id, p_organizer_id,
        v_benefit.kind <> 'promotion' OR v_benefit.minutes_a_licence IS NOT null,
        greatest(v_month AT TIME ZONE p_time_zone, v_benefit.valid_from),
        least((v_month + interval '1 month') AT TIME ZONE p_time_zone, v_benefit.valid_to),
        p_at
    )
    ON CONFLICT (tenant_id, benefit_id, coalesce(organizer_id, ''), valid_from)
    WHERE benefit_id IS NOT null
    DO UPDATE SET valid_to = excluded.valid_to, recount_at = excluded.recount_at
    RETURNING source_id INTO v_source_id;
    RETURN v_source_id;
END
$$;

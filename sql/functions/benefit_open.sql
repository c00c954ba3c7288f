-- benefit_open(tenant_id, benefit_id, organizer_id, at) -> source_id
--
-- Makes sure that a benefit has the source that pays at p_at: one for each month of the
-- tenant, within the benefit's own period. So the sources valid at an instant are those of the
-- benefits in force. p_organizer_id is null for what the whole tenant shares. Null if no such
-- benefit is in force: a call that goes on may outlive it.
--
-- Nothing has to run at midnight: the first call of a month opens its source. What was left
-- of the month before stays where it is; there is no rollover. A new source is due to be
-- counted, and so is that of a benefit which was prolonged within the month.
--
-- Retries: safe. A source that is open stays as it is.
-- Locks:   the source, if it is new or prolonged. The caller holds the tenant's row.
-- Raises:  23514 if the benefit is not one of the tenant's or of an organizer's, as asked.
--          That is a bug in the caller.
CREATE OR REPLACE FUNCTION dialout.benefit_open(
    p_tenant_id uuid, p_benefit_id text, p_organizer_id text, p_at timestamptz
)
RETURNS uuid
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
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

    INSERT INTO source (
        tenant_id, kind, unit, benefit_id, organizer_id, capped, valid_from, valid_to, recount_at
    )
    SELECT
        p_tenant_id, b.kind, 'seconds', b.benefit_id, p_organizer_id,
        b.kind <> 'promotion' OR b.minutes_a_licence IS NOT null,
        greatest(period.starts_at, b.valid_from),
        least(period.ends_at, b.valid_to),
        p_at
    FROM benefit AS b
    CROSS JOIN tenant AS t
    CROSS JOIN LATERAL period_of(t.time_zone, t.anchor_day, p_at) AS period
    WHERE
        b.benefit_id = p_benefit_id AND b.valid_from <= p_at AND p_at < b.valid_to
        AND t.tenant_id = p_tenant_id
    ON CONFLICT (tenant_id, benefit_id, coalesce(organizer_id, ''), valid_from)
    WHERE benefit_id IS NOT null
    DO UPDATE SET valid_to = excluded.valid_to, recount_at = excluded.recount_at
    RETURNING source_id INTO v_source_id;
    RETURN v_source_id;
END
$$;

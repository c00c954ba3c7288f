-- pool_recount(tenant_id, source_id, at)
--
-- Grants a month's pool what the tenant's Audio Conferencing licences bring that have
-- started by p_at: 60 minutes for each organizer who holds one at any time of the month.
-- Organizers are counted and not rows, so that a renewal in mid-month brings nothing twice.
-- A month's minutes are never taken back: what a licence brought may already be used.
--
-- recount_at remembers when the next licence starts, so that the count is made only when
-- it can change.
--
-- Retries: safe. A second count finds nothing to add.
-- Locks:   the source; the caller holds the tenant's row, so licences stand still.
CREATE OR REPLACE FUNCTION dialout.pool_recount(
    p_tenant_id uuid, p_source_id uuid, p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    c_seconds_a_licence CONSTANT bigint := 3600;
    v_pool source;
    v_organizers bigint;
    v_next_start timestamptz;
    v_granted_delta bigint;
BEGIN
    PERFORM sources_lock(p_tenant_id, ARRAY[p_source_id]);
    SELECT s.* INTO STRICT v_pool
    FROM source AS s
    WHERE s.tenant_id = p_tenant_id AND s.source_id = p_source_id;

    SELECT
        count(DISTINCT l.organizer_id) FILTER (WHERE l.valid_from <= p_at),
        min(l.valid_from) FILTER (WHERE l.valid_from > p_at)
    INTO v_organizers, v_next_start
    FROM licence AS l
    WHERE
        l.tenant_id = p_tenant_id
        AND l.sku = 'audio_conferencing'
        AND l.valid_from < v_pool.valid_to
        AND l.valid_to > v_pool.valid_from;

    UPDATE source AS s
    SET recount_at = v_next_start
    WHERE
        s.tenant_id = p_tenant_id
        AND s.source_id = p_source_id
        AND s.recount_at IS DISTINCT FROM v_next_start;
    v_granted_delta := v_organizers * c_seconds_a_licence - v_pool.granted;
    IF v_granted_delta > 0 THEN
        PERFORM entry_append(
            p_tenant_id, p_source_id, 'grant', p_at, p_granted_delta => v_granted_delta
        );
    END IF;
END
$$;

-- event_append(tenant_id, kind, subject_id, data, at)
--
-- Writes an event that others must hear of, in the transaction of what it tells: either both
-- are so or neither is. A subject has each kind of event once; a second one is dropped.
--
-- Retries: safe.
-- Locks:   none that others wait for, but a second event of the same kind and subject.
CREATE OR REPLACE FUNCTION dialout.event_append(
    p_tenant_id uuid, p_kind text, p_subject_id uuid, p_data jsonb, p_at timestamptz
)
RETURNS void
LANGUAGE sql
SET search_path TO dialout, pg_temp
AS $$
    WITH written AS (
        INSERT INTO event (tenant_id, kind, subject_id, at, data)
        VALUES (
            p_tenant_id, p_kind, p_subject_id, p_at,
            jsonb_build_object('tenant_id', p_tenant_id) || p_data
        )
        ON CONFLICT (tenant_id, kind, subject_id) DO NOTHING
        RETURNING event_id
    )
    INSERT INTO delivery (event_id) SELECT w.event_id FROM written AS w
$$;

-- limits_leave(tenant_id, dial_out_id, requested_at)
--
-- Counts a call no more that has ended, and what was set aside for it only as far as it was
-- billed. The dial-out and its charges are written before.
--
-- Retries: none of its own; a step of settle and void, one of which comes here, once.
-- Locks:   as limits_count.
CREATE OR REPLACE FUNCTION dialout.limits_leave(
    p_tenant_id uuid, p_dial_out_id uuid, p_requested_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_dial_out dial_out;
    v_aside_micros bigint;
    v_billed_micros bigint;
BEGIN
    SELECT d.* INTO STRICT v_dial_out
    FROM dial_out AS d
    WHERE
        d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
        AND d.requested_at = p_requested_at;
    SELECT coalesce(sum(p.micros), 0) INTO v_aside_micros
    FROM part AS p
    WHERE
        p.tenant_id = p_tenant_id AND p.dial_out_id = p_dial_out_id
        AND p.filed_at = p_requested_at;
    SELECT coalesce(sum(c.micros), 0) INTO v_billed_micros
    FROM charge AS c
    WHERE
        c.tenant_id = p_tenant_id AND c.dial_out_id = p_dial_out_id
        AND c.filed_at = p_requested_at;
    PERFORM limits_count(
        v_dial_out,
        -1,
        v_dial_out.billable_seconds - v_dial_out.talk_seconds,
        v_billed_micros - v_aside_micros
    );
END
$$;

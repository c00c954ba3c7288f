-- requested_at_of(tenant_id, dial_out_id) -> requested_at
--
-- By which instant a dial-out is filed; null if there is none of this id. Whoever has it can
-- go to the one partition that the dial-out, its parts and its entries are in.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.requested_at_of(p_tenant_id uuid, p_dial_out_id uuid)
RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT d.requested_at
        FROM dial_out AS d
        WHERE d.tenant_id = p_tenant_id AND d.dial_out_id = p_dial_out_id
    );
END
$$;

-- outage_note(outage_id, bridge, kind, began_at, ended_at, detail) -> outcome
--
-- Notes that evidence of the calls of a bridge may be missing from one instant to another, by
-- the clock of its Asterisk.
--
-- Outcomes. The first that applies is returned; all but `noted` write nothing.
--   exists  it is noted already
--   noted   it is noted
--
-- Retries: safe. The first note stands.
-- Locks:   none but the new row's.
CREATE OR REPLACE FUNCTION dialout.outage_note(
    p_outage_id uuid,
    p_bridge text,
    p_kind text,
    p_began_at timestamptz,
    p_ended_at timestamptz,
    p_detail text
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    INSERT INTO outage (outage_id, bridge, kind, began_at, ended_at, detail)
    VALUES (p_outage_id, p_bridge, p_kind, p_began_at, p_ended_at, p_detail)
    ON CONFLICT DO NOTHING;
    RETURN CASE WHEN found THEN 'noted' ELSE 'exists' END;
END
$$;

-- gateway_serves(bridge, gateway_id, at, stops, beat_seconds) -> served_until, noted
--
-- Notes that a gateway serves a bridge at an instant of its Asterisk's clock, or that it stops.
-- Each time without any gateway that is on record by then is noted as an outage, once: those, too,
-- that a gateway ended which has died since. One that beat a short while ago may yet beat: that is
-- waited for, two beats and a half. What lies ahead, of a clock that was set back, is left alone.
--
-- Returns until when another gateway served the bridge that began before this one, null for none,
-- and the outages that were noted now, oldest first.
--
-- Retries: safe. An outage has the id of the gateway that ended it; an instant never goes back.
-- Locks:   the gateway's own row, those that have been silent for a day and are forgotten, and an
--          outage that another gateway is noting at the same time.
CREATE OR REPLACE FUNCTION dialout.gateway_serves(
    p_bridge text,
    p_gateway_id uuid,
    p_at timestamptz,
    p_stops boolean,
    p_beat_seconds integer
)
RETURNS TABLE (served_until timestamptz, noted outage [])
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_own gateway_beat;
    v_silent_since timestamptz := p_at - make_interval(secs => 2.5 * p_beat_seconds);
BEGIN
    INSERT INTO gateway_beat AS g (bridge, gateway_id, began_at, beat_at, has_stopped)
    VALUES (p_bridge, p_gateway_id, p_at, p_at, p_stops)
    ON CONFLICT (bridge, gateway_id) DO UPDATE
    SET beat_at = greatest(g.beat_at, p_at), has_stopped = g.has_stopped OR p_stops
    RETURNING g.* INTO v_own;

    SELECT max(g.beat_at) INTO served_until
    FROM gateway_beat AS g
    WHERE
        g.bridge = p_bridge
        AND (g.began_at, g.gateway_id) < (v_own.began_at, v_own.gateway_id);

    WITH life AS (
        SELECT
            g.gateway_id,
            g.began_at,
            max(g.beat_at) OVER before AS served_until,
            max(g.beat_at) FILTER (WHERE NOT g.has_stopped) OVER before AS unstopped_until
        FROM gateway_beat AS g
        WHERE g.bridge = p_bridge
        WINDOW before AS (
            ORDER BY g.began_at, g.gateway_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )
    ),

    noted_now AS (
        INSERT INTO outage AS o (outage_id, bridge, kind, began_at, ended_at, detail)
        SELECT
            life.gateway_id, p_bridge, 'gateway', life.served_until, life.began_at,
            CASE WHEN life.served_until = life.unstopped_until THEN 'died' ELSE 'stopped' END
        FROM life
        WHERE
            life.served_until < life.began_at
            AND life.began_at <= p_at
            AND coalesce(life.unstopped_until < v_silent_since, true)
        ORDER BY life.began_at
        ON CONFLICT DO NOTHING
        RETURNING o
    )

    SELECT coalesce(array_agg(n.o ORDER BY (n.o).began_at), '{}') INTO noted
    FROM noted_now AS n;

    DELETE FROM gateway_beat AS g
    WHERE g.bridge = p_bridge AND g.beat_at < p_at - interval '1 day';
    RETURN NEXT;
END
$$;

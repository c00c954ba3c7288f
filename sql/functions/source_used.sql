-- source_used(source, used_delta, at)
--
-- Tells what the last settlement has brought a source to: 80 % and all of a pool or of an
-- add-on's fair use, and credits that have come to nothing. The source is as it is after it.
--
-- What is set aside does not count: some of it comes back. A source that gets more licences
-- after it was told of is not told of again.
--
-- Retries: safe.
CREATE OR REPLACE FUNCTION dialout.source_used(
    p_source source, p_used_delta bigint, p_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    IF p_source.kind IN ('pool', 'addon') THEN
        IF (p_source.used - p_used_delta) * 5 < p_source.granted * 4 THEN
            PERFORM allowance_used(p_source, 80, p_at);
        END IF;
        IF p_source.used = p_source.granted THEN
            PERFORM allowance_used(p_source, 100, p_at);
        END IF;
    ELSIF p_source.kind = 'credits' AND p_source.used = p_source.granted THEN
        PERFORM credits_zero(p_source.tenant_id, p_at)
        FROM credits_standing(p_source.tenant_id, p_at) AS c
        WHERE c.unused_micros = 0;
    END IF;
END
$$;

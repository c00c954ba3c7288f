-- rate_draft_assert()
--
-- Raises if what this transaction has drafted cannot be a version: such a draft is a bug of
-- whoever wrote it, since people are told of each line before anything is written.
--
-- Retries: writes nothing.
-- Raises:  22023 if there is no row, if a prefix has minutes that overlap, and if it has
--          minutes but no price at other times.
CREATE OR REPLACE FUNCTION dialout.rate_draft_assert()
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM rate_draft AS r WHERE r.drafted_in = pg_current_xact_id()) THEN
        RAISE EXCEPTION 'a deck without rows' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (
        SELECT FROM rate_draft AS w
        WHERE
            w.drafted_in = pg_current_xact_id()
            AND w.minutes IS NOT null
            AND NOT EXISTS (
                SELECT FROM rate_draft AS r
                WHERE
                    r.drafted_in = w.drafted_in AND r.prefix = w.prefix AND r.minutes IS null
            )
    ) THEN
        RAISE EXCEPTION 'a window without a price at other times'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (
        SELECT FROM rate_draft AS r
        WHERE r.drafted_in = pg_current_xact_id() AND r.minutes IS NOT null
        GROUP BY r.prefix
        HAVING
            (SELECT sum(upper(s) - lower(s)) FROM unnest(range_agg(r.minutes)) AS s)
            <> sum((SELECT sum(upper(s) - lower(s)) FROM unnest(r.minutes) AS s))
    ) THEN
        RAISE EXCEPTION 'windows that overlap' USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

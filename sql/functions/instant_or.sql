-- instant_or(date, otherwise) -> instant
--
-- Midnight UTC of a date as the shipped files write it; `otherwise` for an empty one, which
-- is no bound.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.instant_or(p_date text, p_otherwise timestamptz)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(nullif(p_date, '')::date::timestamp AT TIME ZONE 'UTC', p_otherwise)
$$;

-- prefixes_of(e164) -> prefixes
--
-- Every prefix of a number, in digits: at most fifteen, so that the longest one in a list of
-- any size is found by its key.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.prefixes_of(p_e164 text)
RETURNS text[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT array_agg(left(number.digits, n))
    FROM (SELECT ltrim(p_e164, '+') AS digits) AS number,
        generate_series(1, least(15, length(number.digits))) AS n
$$;

-- month_list() -> month, dial_outs, bytes, is_detached
--
-- The months that have partitions of their own, oldest first: how many dial-outs each holds,
-- as the server last estimated, what it takes on the disk, and whether it was taken out.
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.month_list()
RETURNS TABLE (month timestamptz, dial_outs bigint, bytes bigint, is_detached boolean)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        make_timestamptz(
            split_part(t.suffix, '_', 2)::integer, split_part(t.suffix, '_', 3)::integer,
            1, 0, 0, 0, 'UTC'
        ) AS month,
        greatest(0, max(c.reltuples) FILTER (WHERE t.relation = 'dial_out'))::bigint,
        sum(pg_total_relation_size(c.oid))::bigint,
        c.relnamespace <> 'dialout'::regnamespace
    FROM pg_class AS c
    CROSS JOIN LATERAL (
        SELECT m.relation, substr(c.relname, length(m.relation) + 1) AS suffix
        FROM month_tables() AS m
        WHERE c.relname ~ ('^' || m.relation || '_[0-9]{4}_[0-9]{2}$')
    ) AS t
    WHERE
        c.relkind = 'r'
        AND c.relnamespace IN ('dialout'::regnamespace, 'dialout_archive'::regnamespace)
    GROUP BY t.suffix, c.relnamespace
    ORDER BY 1
$$;

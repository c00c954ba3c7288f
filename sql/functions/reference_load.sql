-- reference_load(rows)
--
-- Makes the reference data what the shipped files say: p_rows is an object with a list of
-- rows for each table, in the columns of its file. Only the migration may: the same for all
-- tenants, and every stored decision holds the facts that it rested on.
--
-- What other rows point at is replaced in place, and what only stands for itself is made
-- anew. An empty date is no bound; any other is midnight UTC.
--
-- Retries: safe.
-- Locks:   the tables against another load; readers go on.
-- Raises:  a constraint's own error if a row has no possible form.
CREATE OR REPLACE FUNCTION dialout.reference_load(p_rows json)
RETURNS void
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    INSERT INTO reason AS r (code, message, remedy)
    SELECT n.code, n.message, n.remedy
    FROM json_to_recordset(p_rows -> 'reasons') AS n (code text, message text, remedy text)
    ON CONFLICT (code) DO UPDATE SET message = excluded.message, remedy = excluded.remedy;

    INSERT INTO country AS c (region, name, selector_2018)
    SELECT n.region, n.name, n.selector_2018
    FROM json_to_recordset(p_rows -> 'countries')
        AS n (region text, name text, selector_2018 boolean)
    ON CONFLICT (region) DO UPDATE
    SET name = excluded.name, selector_2018 = excluded.selector_2018;

    INSERT INTO benefit AS b (
        benefit_id, kind, sku, zone, minutes_a_licence, valid_from, valid_to, source
    )
    SELECT
        n.benefit_id, n.kind, n.sku, nullif(n.zone, ''), nullif(n.minutes_a_licence, '')::integer,
        instant_or(n.valid_from, '-infinity'), instant_or(n.valid_to, 'infinity'), n.source
    FROM json_to_recordset(p_rows -> 'benefits') AS n (
        benefit_id text, kind text, sku text, zone text, minutes_a_licence text,
        valid_from text, valid_to text, source text
    )
    ON CONFLICT (benefit_id) DO UPDATE
    SET
        kind = excluded.kind,
        sku = excluded.sku,
        zone = excluded.zone,
        minutes_a_licence = excluded.minutes_a_licence,
        valid_from = excluded.valid_from,
        valid_to = excluded.valid_to,
        source = excluded.source;

    DELETE FROM availability;
    INSERT INTO availability
    SELECT n.*
    FROM json_to_recordset(p_rows -> 'availability') AS n (
        region text, version date, audio_conferencing_sold text, credits_sold text,
        call_me text, toll_numbers text, toll_free_numbers text
    );

    DELETE FROM zone_member;
    INSERT INTO zone_member (zone, region, valid_from, valid_to)
    SELECT
        n.zone, n.region,
        instant_or(n.valid_from, '-infinity'), instant_or(n.valid_to, 'infinity')
    FROM json_to_recordset(p_rows -> 'zones')
        AS n (zone text, region text, valid_from text, valid_to text);

    DELETE FROM restriction;
    INSERT INTO restriction (region, kind, valid_from, valid_to, source)
    SELECT
        n.region, n.kind,
        instant_or(n.valid_from, '-infinity'), instant_or(n.valid_to, 'infinity'), n.source
    FROM json_to_recordset(p_rows -> 'restrictions')
        AS n (region text, kind text, valid_from text, valid_to text, source text);

    DELETE FROM high_risk_prefix;
    INSERT INTO high_risk_prefix
    SELECT n.*
    FROM json_to_recordset(p_rows -> 'high_risk_prefixes')
        AS n (prefix text, region text, note text, source text, listed_on date);

    ALTER TABLE dial_out VALIDATE CONSTRAINT dial_out_reason_fkey;
END
$$;

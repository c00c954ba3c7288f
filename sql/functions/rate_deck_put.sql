-- rate_deck_put(name, currency, time_zone, starts_at, at) -> outcome
--
-- Makes what this transaction has drafted a version of a deck, the whole of it from
-- p_starts_at on until the next version starts, or changes nothing. What holds before stays
-- as it is. The draft is used up either way. A null time zone is that of the version before,
-- or UTC.
--
-- A version that lies ahead of p_at, which is now, may be put again; one that is or was in
-- force never changes, nor does what holds until now.
--
-- Outcomes. The first that applies is returned; all but the last two write nothing.
--   unknown_region                  a region is neither two capital letters nor 001
--   unknown_time_zone               the time zone is not in the server's database
--   exists_with_different_currency  the deck is in another currency
--   exists                          the deck holds exactly these rows then
--   starts_too_early                rates are in force now, and this would change them before
--                                   now, or at the instant at which they started
--   scheduled                       the deck holds these rows from p_starts_at on, later
--   put                             the deck holds these rows, from p_starts_at on
--
-- Retries: safe, with the same draft. The second one gets `exists`.
-- Locks:   the deck's row.
-- Raises:  22023 if the draft is empty, since an empty file must not take every price away;
--          or if a prefix has minutes that overlap, or minutes but no price at other times.
--          23514 or 23505 if the deck or a row has no possible form, or a row comes twice.
CREATE OR REPLACE FUNCTION dialout.rate_deck_put(
    p_name text,
    p_currency text,
    p_time_zone text,
    p_starts_at timestamptz,
    p_at timestamptz
)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_outcome text;
    v_deck rate_deck;
    v_held rate_version;
    v_time_zone text;
    v_version_id integer;
BEGIN
    PERFORM rate_draft_assert();
    IF EXISTS (
        SELECT FROM rate_draft AS r
        WHERE
            r.drafted_in = pg_current_xact_id()
            AND array_to_string(r.regions, ';') !~ '^([A-Z]{2}|001)(;([A-Z]{2}|001))*$'
    ) THEN
        v_outcome := 'unknown_region';
    ELSIF p_time_zone IS NOT null
        AND NOT EXISTS (SELECT FROM pg_timezone_names AS z WHERE z.name = p_time_zone)
    THEN
        v_outcome := 'unknown_time_zone';
    ELSE
        INSERT INTO rate_deck (name, currency) VALUES (p_name, p_currency)
        ON CONFLICT DO NOTHING;
        SELECT d.* INTO STRICT v_deck FROM rate_deck AS d WHERE d.name = p_name
        FOR NO KEY UPDATE;
        SELECT v.* INTO v_held
        FROM rate_version AS v
        WHERE v.deck_id = v_deck.deck_id AND v.starts_at <= p_starts_at
        ORDER BY v.starts_at DESC
        LIMIT 1;
        v_time_zone := coalesce(p_time_zone, v_held.time_zone, 'UTC');
        v_outcome := CASE
            WHEN v_deck.currency <> p_currency THEN 'exists_with_different_currency'
            WHEN rate_draft_is(v_held, v_time_zone) THEN 'exists'
            WHEN EXISTS (
                SELECT FROM rate_version AS v
                WHERE
                    v.deck_id = v_deck.deck_id
                    AND v.starts_at <= p_at
                    AND (p_starts_at < p_at OR p_starts_at <= v.starts_at)
            ) THEN 'starts_too_early'
            WHEN p_starts_at > p_at THEN 'scheduled'
            ELSE 'put'
        END;
    END IF;

    -- From here on what the outcome says must succeed, or all of it is undone.
    IF v_outcome IN ('scheduled', 'put') THEN
        IF v_held.starts_at = p_starts_at THEN
            DELETE FROM rate AS r WHERE r.version_id = v_held.version_id;
            DELETE FROM rate_version AS v WHERE v.version_id = v_held.version_id;
        END IF;
        INSERT INTO rate_version (deck_id, starts_at, time_zone, rates)
        SELECT v_deck.deck_id, p_starts_at, v_time_zone, count(*)
        FROM rate_draft AS r
        WHERE r.drafted_in = pg_current_xact_id()
        RETURNING version_id INTO v_version_id;
        INSERT INTO rate (
            version_id, prefix, slot, minutes, name, price_micros, connect_fee_micros,
            initial_increment_seconds, increment_seconds, regions
        )
        SELECT
            v_version_id,
            r.prefix,
            CASE WHEN r.minutes IS null THEN 0 ELSE
                row_number() OVER (PARTITION BY r.prefix, r.minutes IS null ORDER BY r.minutes)
            END,
            r.minutes,
            r.name,
            r.price_micros,
            r.connect_fee_micros,
            r.initial_increment_seconds,
            r.increment_seconds,
            r.regions
        FROM rate_draft AS r
        WHERE r.drafted_in = pg_current_xact_id();
    END IF;
    DELETE FROM rate_draft AS r WHERE r.drafted_in = pg_current_xact_id();
    RETURN v_outcome;
END
$$;

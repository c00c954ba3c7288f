-- rate_deck_put(name, currency, rows, at) -> outcome, deck_id
--
-- Makes the given rows the whole of a deck from p_at on, or nothing of it. What was valid
-- before stays on record and prices nothing any more; a call that is already reserved has
-- its own copy.
--
-- The rows come as arrays of equal length: prefix (digits, without a plus sign), price of a
-- minute, connect fee, initial increment, increment, and the regions that the deck names for
-- the prefix, as one text with semicolons; null if it names none.
--
-- The deck's own row keeps how many rates it holds since when, and so does its audit: the
-- rates themselves are never changed, and found by that instant.
--
-- Outcomes. The first that applies is returned; all but `put` write nothing.
--   unknown_region                  a region is neither two capital letters nor 001
--   exists_with_different_currency  the deck is in another currency
--   exists                          the deck holds exactly these rows
--   starts_too_early                the deck holds other rows, from p_at or later on
--   put                             the deck holds these rows from p_at on
--
-- Retries: safe. The second one gets `exists`.
-- Locks:   the deck's row.
-- Raises:  22023 if there are no rows: an empty file must not take every price away.
--          23514 or 23505 if the deck or a row has no possible form, or a prefix comes twice.
CREATE OR REPLACE FUNCTION dialout.rate_deck_put(
    p_name text,
    p_currency text,
    p_prefixes text[],
    p_prices_micros bigint[],
    p_connect_fees_micros bigint[],
    p_initial_increments_seconds integer[],
    p_increments_seconds integer[],
    p_regions_texts text[],
    p_at timestamptz
)
RETURNS TABLE (outcome text, deck_id integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_deck rate_deck;
BEGIN
    IF (cardinality(p_prefixes) > 0) IS NOT true THEN
        RAISE EXCEPTION 'a deck without rows' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF EXISTS (
        SELECT FROM unnest(p_regions_texts) AS r
        WHERE r !~ '^([A-Z]{2}|001)(;([A-Z]{2}|001))*$'
    ) THEN
        RETURN QUERY SELECT 'unknown_region', null::integer;
        RETURN;
    END IF;
    INSERT INTO rate_deck (name, currency, rates, rates_from)
    VALUES (p_name, p_currency, cardinality(p_prefixes), p_at)
    ON CONFLICT DO NOTHING;
    SELECT d.* INTO STRICT v_deck FROM rate_deck AS d WHERE d.name = p_name FOR NO KEY UPDATE;
    IF v_deck.currency <> p_currency THEN
        RETURN QUERY SELECT 'exists_with_different_currency', v_deck.deck_id;
        RETURN;
    END IF;
    IF (
        SELECT array_agg((
            r.prefix, r.price_micros, r.connect_fee_micros,
            r.initial_increment_seconds, r.increment_seconds, r.regions
        ) ORDER BY r.prefix)
        FROM rate AS r
        WHERE r.deck_id = v_deck.deck_id AND r.valid_to = 'infinity'
    ) = (
        SELECT array_agg((
            r.prefix, r.price_micros, r.connect_fee_micros,
            r.initial_increment_seconds, r.increment_seconds, regions_of(r.regions_text)
        ) ORDER BY r.prefix)
        FROM unnest(
            p_prefixes, p_prices_micros, p_connect_fees_micros,
            p_initial_increments_seconds, p_increments_seconds, p_regions_texts
        ) AS r (
            prefix, price_micros, connect_fee_micros,
            initial_increment_seconds, increment_seconds, regions_text
        )
    ) THEN
        RETURN QUERY SELECT 'exists', v_deck.deck_id;
        RETURN;
    END IF;
    IF EXISTS (
        SELECT FROM rate AS r
        WHERE
            r.deck_id = v_deck.deck_id AND r.valid_to = 'infinity' AND r.valid_from >= p_at
    ) THEN
        RETURN QUERY SELECT 'starts_too_early', v_deck.deck_id;
        RETURN;
    END IF;

    -- From here on the deck must be put, or all of it is undone.
    UPDATE rate AS r
    SET valid_to = p_at
    WHERE r.deck_id = v_deck.deck_id AND r.valid_to = 'infinity';
    INSERT INTO rate (
        deck_id, prefix, valid_from,
        price_micros, connect_fee_micros, initial_increment_seconds, increment_seconds, regions
    )
    SELECT
        v_deck.deck_id, r.prefix, p_at,
        r.price, r.connect_fee, r.initial, r.increment, regions_of(r.regions_text)
    FROM unnest(
        p_prefixes, p_prices_micros, p_connect_fees_micros,
        p_initial_increments_seconds, p_increments_seconds, p_regions_texts
    ) AS r (prefix, price, connect_fee, initial, increment, regions_text);
    UPDATE rate_deck AS d
    SET rates = cardinality(p_prefixes), rates_from = p_at
    WHERE d.deck_id = v_deck.deck_id;
    RETURN QUERY SELECT 'put', v_deck.deck_id;
END
$$;

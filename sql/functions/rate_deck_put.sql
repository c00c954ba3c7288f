-- rate_deck_put(name, currency, rows, at) -> outcome, deck_id
--
-- Makes the given rows the whole of a deck from p_at on, or nothing of it. What was valid
-- before stays on record and prices nothing any more; a call that is already reserved has
-- its own copy.
--
-- The rows come as arrays of equal length: prefix (digits, without a plus sign), price of a
-- minute, connect fee, initial increment, increment.
--
-- Outcomes. The first that applies is returned; the first two write nothing.
--   exists_with_different_currency  the deck is in another currency
--   exists                          the deck holds exactly these rows
--   put                             the deck holds these rows from p_at on
--
-- Retries: safe. The second one gets `exists`.
-- Locks:   the deck's row.
-- Raises:  22023 if there are no rows: an empty file must not take every price away.
--          23514 or 23505 if a row has no possible form, a prefix comes twice, or p_at lies
--          before the start of what the deck holds.
CREATE OR REPLACE FUNCTION dialout.rate_deck_put(
    p_name text,
    p_currency text,
    p_prefixes text[],
    p_prices_micros bigint[],
    p_connect_fees_micros bigint[],
    p_initial_increments_seconds integer[],
    p_increments_seconds integer[],
    p_at timestamptz
)
RETURNS TABLE (outcome text, deck_id integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_deck rate_deck;
BEGIN
    IF (cardinality(p_prefixes) > 0) IS NOT TRUE THEN
        RAISE EXCEPTION 'a deck without rows' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO rate_deck (name, currency) VALUES (p_name, p_currency) ON CONFLICT DO NOTHING;
    SELECT d.* INTO STRICT v_deck FROM rate_deck AS d WHERE d.name = p_name FOR NO KEY UPDATE;
    IF v_deck.currency <> p_currency THEN
        RETURN QUERY SELECT 'exists_with_different_currency', v_deck.deck_id;
        RETURN;
    END IF;
    IF (
        SELECT array_agg((
            r.prefix, r.price_micros, r.connect_fee_micros,
            r.initial_increment_seconds, r.increment_seconds
        ) ORDER BY r.prefix)
        FROM rate AS r
        WHERE r.deck_id = v_deck.deck_id AND r.valid_to = 'infinity'
    ) = (
        SELECT array_agg((
            r.prefix, r.price_micros, r.connect_fee_micros,
            r.initial_increment_seconds, r.increment_seconds
        ) ORDER BY r.prefix)
        FROM unnest(
            p_prefixes, p_prices_micros, p_connect_fees_micros,
            p_initial_increments_seconds, p_increments_seconds
        ) AS r (
            prefix, price_micros, connect_fee_micros,
            initial_increment_seconds, increment_seconds
        )
    ) THEN
        RETURN QUERY SELECT 'exists', v_deck.deck_id;
        RETURN;
    END IF;

    -- From here on the deck must be put, or all of it is undone.
    UPDATE rate AS r
    SET valid_to = p_at
    WHERE r.deck_id = v_deck.deck_id AND r.valid_to = 'infinity';
    INSERT INTO rate (
        deck_id, prefix, valid_from,
        price_micros, connect_fee_micros, initial_increment_seconds, increment_seconds
    )
    SELECT v_deck.deck_id, r.prefix, p_at, r.price, r.connect_fee, r.initial, r.increment
    FROM unnest(
        p_prefixes, p_prices_micros, p_connect_fees_micros,
        p_initial_increments_seconds, p_increments_seconds
    ) AS r (prefix, price, connect_fee, initial, increment);
    RETURN QUERY SELECT 'put', v_deck.deck_id;
END
$$;

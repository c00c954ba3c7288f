-- rate_decks_fault(deck_ids, currency) -> outcome
--
-- Why a tenant with this currency may not have its calls priced by these decks; null if it may.
-- A null deck is none, and a fault of nobody.
--
-- Outcomes. The first that applies is returned.
--   unknown_rate_deck           there is no such deck
--   rate_deck_currency_differs  a deck is in another currency
--
-- Retries: writes nothing.
CREATE OR REPLACE FUNCTION dialout.rate_decks_fault(p_deck_ids integer[], p_currency text)
RETURNS text
LANGUAGE sql STABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT
        CASE
            WHEN bool_or(d.deck_id IS null) THEN 'unknown_rate_deck'
            WHEN bool_or(d.currency <> p_currency) THEN 'rate_deck_currency_differs'
        END
    FROM unnest(p_deck_ids) AS named (deck_id)
    LEFT JOIN rate_deck AS d ON named.deck_id = d.deck_id
    WHERE named.deck_id IS NOT null
$$;

-- The decks: how many rates were put last, and the instant from which they hold.
CREATE OR REPLACE VIEW dialout.rate_deck_list AS
SELECT
    d.deck_id,
    d.name,
    d.currency,
    d.rates,
    nullif(d.rates_from, '-infinity') AS rates_from
FROM dialout.rate_deck AS d;

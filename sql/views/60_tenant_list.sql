-- The tenants, and the names of the decks that price their calls, out and in.
CREATE OR REPLACE VIEW dialout.tenant_list AS
SELECT
    t.tenant_id,
    t.name,
    t.suspended,
    t.time_zone,
    t.anchor_day,
    t.currency,
    d.name AS rate_deck,
    i.name AS inbound_deck
FROM dialout.tenant AS t
LEFT JOIN dialout.rate_deck AS d ON t.rate_deck_id = d.deck_id
LEFT JOIN dialout.rate_deck AS i ON t.inbound_deck_id = i.deck_id;

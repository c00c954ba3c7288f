-- The tenants, and the name of the deck that prices their calls.
CREATE OR REPLACE VIEW dialout.tenant_list AS
SELECT
    t.tenant_id,
    t.name,
    t.suspended,
    t.time_zone,
    t.anchor_day,
    t.currency,
    d.name AS rate_deck
FROM dialout.tenant AS t
LEFT JOIN dialout.rate_deck AS d ON t.rate_deck_id = d.deck_id;

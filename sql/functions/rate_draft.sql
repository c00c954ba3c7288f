-- rate_draft(prefixes, minutes, names, prices, connect_fees, initial_increments, increments,
--            regions) -> count
--
-- Adds rows to what this transaction drafts; rate_deck_put makes a version of all of it. A
-- deck comes in several of these, so that none keeps a client or the server busy for long.
--
-- The rows come as arrays of equal length: prefix (digits, without a plus sign), minutes of
-- the week as the text of a multirange, null for any time, name or null, price of a minute,
-- connect fee, initial increment, increment, and the regions that the deck names for the
-- prefix, as one text with semicolons; null if it names none.
--
-- Retries: not by itself. What a transaction drafts is undone with it.
CREATE OR REPLACE FUNCTION dialout.rate_draft(
    p_prefixes text[],
    p_minutes_texts text[],
    p_names text[],
    p_prices_micros bigint[],
    p_connect_fees_micros bigint[],
    p_initial_increments_seconds integer[],
    p_increments_seconds integer[],
    p_regions_texts text[]
)
RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    WITH drafted AS (
        INSERT INTO rate_draft (
            prefix, minutes, name, price_micros, connect_fee_micros,
            initial_increment_seconds, increment_seconds, regions
        )
        SELECT
            r.prefix, r.minutes_text::int4multirange, r.name, r.price, r.connect_fee,
            r.initial, r.increment, regions_of(r.regions_text)
        FROM unnest(
            p_prefixes, p_minutes_texts, p_names, p_prices_micros, p_connect_fees_micros,
            p_initial_increments_seconds, p_increments_seconds, p_regions_texts
        ) AS r (
            prefix, minutes_text, name, price, connect_fee, initial, increment, regions_text
        )
        RETURNING 1
    )

    SELECT count(*) FROM drafted
$$;

-- ledger_check_month(tenant_id, month) -> finding, subject, detail
--
-- Checks all of a tenant's calls and entries that are filed in the month of UTC that begins
-- at p_month. With every month's, and with ledger_check_sources, the books are proved; no row
-- means that they are sound. What is wrong is said by one code of a closed list:
--
--   unfunded          a dial-out that was not refused has nothing set aside, or a refused one has
--   parts_differ      slices or parts are not counted without a gap, or pay for too little time
--   entries_differ    a part was not set aside, or not ended, by exactly its own entries
--   not_ended         an ended dial-out has something set aside that was not ended
--   ended_early       an open or refused dial-out has something set aside that was ended
--   end_differs       one end for one part and another for the next, or a charge for what was
--                     given back, or none for what was settled
--   charge_differs    a charge is not what the rates of the call say
--   billed_differs    billed seconds are not those of the call, or lie out of their part
--   source_not_valid  a part was set aside from a source that pays at another time
--   source_differs    a part was set aside from a source of another kind, benefit or organizer
--   astray            a part, a charge or an entry belongs to nothing that is there
--   doubled           a dial-out is also filed in the month before
--   chain_broken      an entry is missing, changed or put in, or a month is not joined to one
--                     before it
--   totals_differ     a source's totals are not the sums of its entries
--   overdrawn         a source has used or set aside less than nothing, or more than it has
--   granted_unneeded  a source that is not capped was granted more than was ever set aside
--   lots_differ       a lot of credits holds other than what was bought
--   periods_overlap   two sources of one benefit pay at the same time
--   head_differs      an entry that was known before is missing or another one
--
-- The last six come from ledger_check_sources and ledger_check_heads.
--
-- Retries: writes nothing and locks nothing. One statement, so it sees one instant.
CREATE OR REPLACE FUNCTION dialout.ledger_check_month(p_tenant_id uuid, p_month timestamptz)
RETURNS TABLE (finding text, subject text, detail text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
    WITH month AS (
        SELECT p_month AS from_at, date_add(p_month, interval '1 month', 'UTC') AS to_at
    )

    SELECT c.* FROM month AS m, ledger_check_calls(p_tenant_id, m.from_at, m.to_at) AS c
    UNION ALL
    SELECT c.* FROM month AS m, ledger_check_sets(p_tenant_id, m.from_at, m.to_at) AS c
    UNION ALL
    SELECT c.* FROM month AS m, ledger_check_charges(p_tenant_id, m.from_at, m.to_at) AS c
    UNION ALL
    SELECT c.* FROM month AS m, ledger_check_chain(p_tenant_id, m.from_at, m.to_at) AS c
$$;

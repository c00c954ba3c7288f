-- What each source set aside for each dial-out, and what of it was billed.
--
-- The billed columns are null until the reservation has ended; a reservation that was
-- given back billed nothing.
CREATE OR REPLACE VIEW dialout.funding_part AS
SELECT
    p.tenant_id,
    p.dial_out_id,
    p.slice,
    p.part,
    s.kind AS source,
    s.benefit_id,
    p.seconds,
    p.micros,
    CASE WHEN e.kind IS NOT null THEN coalesce(b.seconds, 0) END AS billed_seconds,
    CASE WHEN e.kind IS NOT null THEN coalesce(b.micros, 0) END AS billed_micros,
    s.currency
FROM dialout.reservation_part AS p
INNER JOIN dialout.source AS s ON p.tenant_id = s.tenant_id AND p.source_id = s.source_id
LEFT JOIN dialout.reservation_end AS e
    ON p.tenant_id = e.tenant_id AND p.dial_out_id = e.dial_out_id AND p.slice = e.slice
LEFT JOIN dialout.settlement AS b
    ON
        p.tenant_id = b.tenant_id
        AND p.dial_out_id = b.dial_out_id
        AND p.slice = b.slice
        AND p.part = b.part;

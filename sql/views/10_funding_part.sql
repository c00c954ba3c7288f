-- What each part of a call set aside, and what of it was billed.
--
-- The billed columns are null until the call has ended; a part that was given back billed
-- nothing.
CREATE OR REPLACE VIEW dialout.funding_part AS
SELECT
    p.tenant_id,
    p.dial_out_id,
    p.filed_at,
    p.slice,
    p.part,
    p.kind AS source,
    p.benefit_id,
    p.source_id,
    p.seconds,
    p.micros,
    CASE WHEN d.state = 'ended' THEN coalesce(b.seconds, 0) END AS billed_seconds,
    CASE WHEN d.state = 'ended' THEN coalesce(b.micros, 0) END AS billed_micros,
    (p.rate).currency AS currency,
    (p.rate).prefix AS rate_prefix,
    (p.rate).price_micros AS price_micros,
    (p.rate).connect_fee_micros AS connect_fee_micros,
    (p.rate).initial_increment_seconds AS initial_increment_seconds,
    (p.rate).increment_seconds AS increment_seconds
FROM dialout.part AS p
INNER JOIN dialout.dial_out AS d
    ON
        p.tenant_id = d.tenant_id
        AND p.dial_out_id = d.dial_out_id
        AND p.filed_at = d.requested_at
LEFT JOIN dialout.charge AS b
    ON
        p.tenant_id = b.tenant_id
        AND p.dial_out_id = b.dial_out_id
        AND p.filed_at = b.filed_at
        AND p.slice = b.slice
        AND p.part = b.part;

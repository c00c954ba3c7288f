-- What version 0.1 leaves behind, on top of its migration 0001: its views, the functions
-- whose arguments or results have changed since (no body: they are only to be replaced), and
-- the books of one tenant. The pool of March 2026 is in use: one call was settled, over pool
-- and credits, one is reserved, and one was refused.

CREATE OR REPLACE VIEW dialout.funding_part AS
SELECT
    p.tenant_id,
    p.dial_out_id,
    p.slice,
    p.part,
    s.kind AS source,
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

CREATE OR REPLACE VIEW dialout.dial_out_record AS
SELECT
    d.tenant_id,
    d.dial_out_id,
    d.kind,
    d.organizer_id,
    d.initiator_id,
    d.conference_id,
    d.number_typed,
    d.state,
    d.reason,
    d.destination,
    d.region,
    d.number_kind,
    d.requested_at,
    d.expires_at,
    d.released_at,
    d.answered_at,
    d.seen_at,
    d.ended_at,
    d.talk_seconds,
    d.ring_seconds,
    d.caller_id,
    d.gate_uniqueid,
    d.disposition,
    d.hangup_cause,
    d.billable_seconds,
    d.overrun_seconds,
    d.evidence,
    d.explanation::text AS explanation,
    (
        SELECT
            coalesce(
                json_agg(
                    json_build_object(
                        'source', p.source,
                        'seconds', p.seconds,
                        'micros', p.micros,
                        'billed_seconds', p.billed_seconds,
                        'billed_micros', p.billed_micros,
                        'currency', p.currency
                    ) ORDER BY p.slice, p.part
                ),
                '[]'
            )::text
        FROM dialout.funding_part AS p
        WHERE p.tenant_id = d.tenant_id AND p.dial_out_id = d.dial_out_id
    ) AS parts
FROM dialout.dial_out AS d;

CREATE OR REPLACE VIEW dialout.open_dial_out AS
SELECT r.*
FROM dialout.dial_out_record AS r
WHERE r.ended_at IS null AND r.expires_at IS NOT null;

CREATE OR REPLACE VIEW dialout.balance AS
SELECT
    s.tenant_id,
    s.source_id,
    s.kind,
    s.unit,
    s.currency,
    nullif(s.valid_from, '-infinity') AS valid_from,
    nullif(s.valid_to, 'infinity') AS valid_to,
    s.granted,
    s.used,
    s.reserved,
    s.free
FROM dialout.source AS s;

CREATE FUNCTION dialout.claim(
    p_tenant_id uuid, p_dial_out_id uuid, p_gate_uniqueid text, p_at timestamptz
)
RETURNS TABLE (
    outcome text, destination text, talk_seconds integer, ring_seconds integer, caller_id text
)
LANGUAGE sql AS 'SELECT null, null, 0, 0, null';

CREATE FUNCTION dialout.reserve(
    p_tenant_id uuid,
    p_dial_out_id uuid,
    p_kind text,
    p_organizer_id text,
    p_initiator_id text,
    p_conference_id text,
    p_number_typed text,
    p_destination text,
    p_region text,
    p_number_kind text,
    p_sources text[],
    p_rate dialout.rate_terms,
    p_talk_seconds_max integer,
    p_talk_seconds_min integer,
    p_ring_seconds integer,
    p_caller_id text,
    p_explanation json,
    p_at timestamptz,
    p_expires_at timestamptz,
    p_gate_uniqueid text
)
RETURNS TABLE (outcome text, record dialout.dial_out_record)
LANGUAGE sql AS 'SELECT null, null::dialout.dial_out_record';

CREATE FUNCTION dialout.fund(
    p_tenant_id uuid,
    p_sources text[],
    p_seconds integer,
    p_rate dialout.rate_terms,
    p_at timestamptz
)
RETURNS dialout.part_proposal[]
LANGUAGE sql AS 'SELECT null::dialout.part_proposal[]';

CREATE FUNCTION dialout.pool_open(p_tenant_id uuid, p_time_zone text, p_at timestamptz)
RETURNS void
LANGUAGE sql AS 'SELECT';

CREATE FUNCTION dialout.licence_assign(
    p_tenant_id uuid,
    p_organizer_id text,
    p_sku text,
    p_valid_from timestamptz,
    p_valid_to timestamptz,
    p_at timestamptz
)
RETURNS text
LANGUAGE sql AS 'SELECT null';

INSERT INTO dialout.rate_deck (name, currency) VALUES ('europe', 'EUR');

-- Put twice; the second time without Germany, and later with nothing at all.
INSERT INTO dialout.rate VALUES
(1, '44', '2025-03-10 00:00:00+00', '2026-01-01 00:00:00+00', 10000, 0, 60, 60),
(1, '49', '2025-03-10 00:00:00+00', '2026-01-01 00:00:00+00', 20000, 0, 60, 60),
(1, '44', '2026-01-01 00:00:00+00', '2027-01-01 00:00:00+00', 30000, 500, 30, 6);

INSERT INTO dialout.tenant VALUES
('10000000-0000-4000-8000-000000000000', 'Acme', false, 'UTC', 'EUR', 1);

INSERT INTO dialout.organizer VALUES
('10000000-0000-4000-8000-000000000000', 'ann@example.com', 'Ann', 'GB', 'any');

INSERT INTO dialout.licence VALUES
(
    '10000000-0000-4000-8000-000000000000', 'ann@example.com', 'audio_conferencing',
    '2025-03-10 00:00:00+00', 'infinity'
);

INSERT INTO dialout.source (
    tenant_id, source_id, kind, unit, currency, valid_from, valid_to, granted, used, reserved
)
VALUES
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000c',
    'credits', 'micros', 'EUR', '-infinity', 'infinity', 1000000, 17000, 0
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000d',
    'pool', 'seconds', null, '2026-03-01 00:00:00+00', '2026-04-01 00:00:00+00', 3600, 1500, 1800
);

INSERT INTO dialout.dial_out (
    tenant_id, dial_out_id, kind, organizer_id, initiator_id, conference_id, number_typed,
    state, reason, destination, region, number_kind, requested_at, expires_at,
    released_at, answered_at, ended_at, talk_seconds, ring_seconds, caller_id, gate_uniqueid,
    disposition, hangup_cause, billable_seconds, overrun_seconds, evidence, explanation
)
VALUES
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001',
    'call_me', 'ann@example.com', 'bob', 'room-1', '020 7946 0123',
    'ended', null, '+442079460123', 'GB', 'fixed_line',
    '2026-03-10 11:00:00+00', '2026-03-10 11:01:00+00',
    '2026-03-10 11:00:00+00', '2026-03-10 11:00:00+00', '2026-03-10 11:25:50+00',
    1600, 30, '+442079460999', 'ast-1.1',
    'answered', 16, 1550, 0, 'events', '{"because": "test"}'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000002',
    'call_me', 'ann@example.com', 'bob', 'room-1', '020 7946 0123',
    'reserved', null, '+442079460123', 'GB', 'fixed_line',
    '2026-03-10 12:00:00+00', '2026-03-10 12:01:00+00',
    null, null, null,
    1800, 30, '+442079460999', null,
    null, null, null, null, null, '{"because": "test"}'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000003',
    'intercept', 'ann@example.com', null, 'room-1', '999',
    'refused', 'emergency_or_short_code', null, null, null,
    '2026-03-10 12:00:00+00', null,
    null, null, null,
    null, null, null, null,
    null, null, null, null, null, '{"because": "test"}'
);

INSERT INTO dialout.reservation VALUES
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001',
    1, 1600, '2026-03-10 11:00:00+00'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000002',
    1, 1800, '2026-03-10 12:00:00+00'
);

INSERT INTO dialout.reservation_part VALUES
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001', 1, 1,
    '00000000-0000-4000-8000-00000000000d', 1500, 0, null
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001', 1, 2,
    '00000000-0000-4000-8000-00000000000c', 100, 29000, ROW(1, '44', 'EUR', 12000, 5000, 60, 60)
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000002', 1, 1,
    '00000000-0000-4000-8000-00000000000d', 1800, 0, null
);

INSERT INTO dialout.reservation_end VALUES
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001', 1,
    'settle', '2026-03-10 11:25:50+00'
);

INSERT INTO dialout.settlement VALUES
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001', 1, 1,
    1500, 0
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-000000000001', 1, 2,
    50, 17000
);

INSERT INTO dialout.entry (
    tenant_id, source_id, kind, granted_delta, used_delta, reserved_delta,
    grant_id, dial_out_id, slice, part, at
)
VALUES
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000c',
    'grant', 1000000, 0, 0,
    '00000000-0000-4000-8000-000000000009', null, null, null, '2026-03-10 10:00:00+00'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000d',
    'grant', 3600, 0, 0,
    null, null, null, null, '2026-03-10 11:00:00+00'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000d',
    'reserve', 0, 0, 1500,
    null, '00000000-0000-4000-8000-000000000001', 1, 1, '2026-03-10 11:00:00+00'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000c',
    'reserve', 0, 0, 29000,
    null, '00000000-0000-4000-8000-000000000001', 1, 2, '2026-03-10 11:00:00+00'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000d',
    'settle', 0, 1500, -1500,
    null, '00000000-0000-4000-8000-000000000001', 1, 1, '2026-03-10 11:25:50+00'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000c',
    'settle', 0, 17000, -29000,
    null, '00000000-0000-4000-8000-000000000001', 1, 2, '2026-03-10 11:25:50+00'
),
(
    '10000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000d',
    'reserve', 0, 0, 1800,
    null, '00000000-0000-4000-8000-000000000002', 1, 1, '2026-03-10 12:00:00+00'
);

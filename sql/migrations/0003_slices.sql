-- Calls are paid for slice by slice, credits are lots, and what grows is kept by the month.
-- depends: 0002_entitlement

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- Functions and views are replaced by each migration; those of the version before had other
-- arguments and columns, and would stay beside the new ones or in their way.

DO $$
DECLARE
    v_drop text;
BEGIN
    FOR v_drop IN
        SELECT format('DROP FUNCTION %s', p.oid::regprocedure)
        FROM pg_proc AS p
        WHERE
            p.pronamespace = 'dialout'::regnamespace
            AND p.prorettype <> 'trigger'::regtype
        UNION ALL
        SELECT format('DROP VIEW %s CASCADE', string_agg(c.oid::regclass::text, ', '))
        FROM pg_class AS c
        WHERE c.relnamespace = 'dialout'::regnamespace AND c.relkind = 'v'
        HAVING count(*) > 0
    LOOP
        EXECUTE v_drop;
    END LOOP;
END
$$;

-- A tenant's month may begin on any day; on the last one where a month has no such day.

ALTER TABLE tenant
ADD COLUMN anchor_day smallint NOT NULL DEFAULT 1 CHECK (anchor_day BETWEEN 1 AND 31);

-- Credits are lots: one source a purchase, which lapses. What was bought before was
-- promised no end, and stays one lot without.

DROP INDEX source_credits;

CREATE INDEX source_lots ON source (tenant_id, valid_to, valid_from, source_id)
WHERE kind = 'credits';

CREATE TABLE credit_grant (
    tenant_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    micros bigint NOT NULL CHECK (micros > 0),
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, grant_id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source
);

INSERT INTO credit_grant (tenant_id, grant_id, source_id, micros, at)
SELECT
    e.tenant_id,
    e.grant_id,
    e.source_id,
    e.granted_delta AS micros,
    e.at
FROM entry AS e
WHERE e.grant_id IS NOT null;

CREATE TRIGGER credit_grant_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_grant
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER credit_grant_audited AFTER INSERT ON credit_grant
FOR EACH ROW EXECUTE FUNCTION audit_change();

-- What a call can be given: stretches of its time, and what is set aside for them of which
-- source. A stretch that credits pay may draw on several lots.

DROP TYPE part_proposal;

CREATE TYPE part_proposal AS (
    part smallint,
    kind text,
    benefit_id text,
    source_id uuid,
    seconds integer,
    micros bigint,
    rate rate_terms,
    begins_at timestamptz,
    from_at timestamptz,
    to_at timestamptz
);

CREATE TYPE draw AS (
    part smallint,
    source_id uuid,
    amount bigint
);

-- A stretch of time in which a call would be paid from the same sources at the same price.
CREATE TYPE stretch AS (
    from_at timestamptz,
    to_at timestamptz,
    source_ids uuid[],
    rate rate_terms
);

-- `seconds` is how long the call may last for certain, whenever it is answered; `asked` are
-- the sources that could pay when it begins.
CREATE TYPE funding AS (
    seconds integer,
    parts part_proposal[],
    draws draw[],
    asked uuid[]
);

-- Everything that grows with the calls lies in partitions by the month (of UTC) in which the
-- dial-out was requested, whole calls together: so old months can be taken out whole. There
-- are no foreign keys between these tables, or a month could not be taken out while calls go
-- on; that all of it fits together is what the check of the ledger proves.

ALTER TABLE dial_out RENAME TO old_dial_out;

ALTER INDEX dial_out_pkey RENAME TO old_dial_out_pkey;

ALTER INDEX dial_out_open RENAME TO old_dial_out_open;

ALTER INDEX dial_out_by_time RENAME TO old_dial_out_by_time;

ALTER TABLE entry RENAME TO old_entry;

ALTER INDEX entry_pkey RENAME TO old_entry_pkey;

ALTER INDEX entry_of_part RENAME TO old_entry_of_part;

CREATE TABLE dial_out (
    tenant_id uuid NOT NULL,
    dial_out_id uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('add_participant', 'call_me', 'intercept')),
    organizer_id text NOT NULL CHECK (length(organizer_id) <= 256),
    initiator_id text CHECK (length(initiator_id) <= 256),
    conference_id text NOT NULL CHECK (length(conference_id) <= 256),
    number_typed text NOT NULL CHECK (length(number_typed) <= 256),
    state text NOT NULL
    CHECK (state IN ('refused', 'reserved', 'released', 'answered', 'ended')),
    reason text,
    destination text CHECK (destination ~ '^\+[1-9][0-9]{6,14}$'),
    region text,
    number_kind text,
    expires_at timestamptz,
    released_at timestamptz,
    answered_at timestamptz,
    seen_at timestamptz,
    ended_at timestamptz,
    -- Which sources were asked, in order, and at which rate: the next slice asks them again.
    asked_kinds text[],
    asked_benefits text[],
    rate rate_terms,
    may_finish boolean,
    -- How long the call may last at most, how long it is paid for, and when Asterisk cuts it:
    -- later than it is paid for only where the tenant lets calls finish.
    talk_seconds_max integer CHECK (talk_seconds_max BETWEEN 1 AND 86400),
    slice_seconds integer CHECK (slice_seconds > 0),
    slices smallint CHECK (slices > 0),
    talk_seconds integer CHECK (talk_seconds BETWEEN 1 AND talk_seconds_max),
    limit_seconds integer CHECK (limit_seconds BETWEEN talk_seconds AND talk_seconds_max),
    ring_seconds integer CHECK (ring_seconds > 0),
    caller_id text CHECK (caller_id ~ '^\+[1-9][0-9]{6,14}$'),
    gate_uniqueid text CHECK (length(gate_uniqueid) BETWEEN 1 AND 256),
    disposition text CHECK (
        disposition IN ('answered', 'busy', 'no_answer', 'congestion', 'failed', 'cancelled')
    ),
    hangup_cause integer,
    billable_seconds integer CHECK (billable_seconds BETWEEN 0 AND talk_seconds),
    overrun_seconds integer CHECK (overrun_seconds >= 0),
    evidence text,
    explanation json NOT NULL,
    sources json,
    PRIMARY KEY (tenant_id, dial_out_id, requested_at),
    CONSTRAINT refused_for_a_reason CHECK ((state = 'refused') = (reason IS NOT null)),
    CONSTRAINT bounded_unless_refused CHECK (
        num_nonnulls(
            expires_at, may_finish, talk_seconds_max, slice_seconds, slices, talk_seconds,
            limit_seconds, ring_seconds, caller_id
        ) = CASE state WHEN 'refused' THEN 0 ELSE 9 END
    ),
    CONSTRAINT known_number_unless_refused CHECK (
        state = 'refused' OR num_nulls(destination, region, number_kind) = 0
    ),
    CONSTRAINT claimed_by_a_channel CHECK (
        num_nulls(released_at, gate_uniqueid) <> 1
        AND (state NOT IN ('released', 'answered') OR released_at IS NOT null)
        AND (state NOT IN ('refused', 'reserved') OR released_at IS null)
    ),
    CONSTRAINT answered_at_an_instant CHECK (state <> 'answered' OR answered_at IS NOT null),
    CONSTRAINT ended_with_the_bill CHECK (
        num_nonnulls(ended_at, disposition, billable_seconds, overrun_seconds, evidence)
        = CASE state WHEN 'ended' THEN 5 ELSE 0 END
    )
) PARTITION BY RANGE (requested_at);

-- The predicate names only columns that a claim leaves alone: a claim is on the path of
-- the call, and an update that touches no index is a heap-only one.
CREATE INDEX dial_out_open ON dial_out (tenant_id, dial_out_id)
WHERE ended_at IS null AND expires_at IS NOT null;

CREATE INDEX dial_out_by_time ON dial_out (tenant_id, requested_at);

-- A call is paid for in slices; each slice in parts, in order. A part pays for so many seconds
-- that begin between two instants: a month ends, or a price changes, in the midst of a call.
CREATE TABLE part (
    tenant_id uuid NOT NULL,
    dial_out_id uuid NOT NULL,
    filed_at timestamptz NOT NULL,
    slice smallint NOT NULL CHECK (slice >= 1),
    part smallint NOT NULL CHECK (part >= 1),
    kind text NOT NULL CHECK (kind IN ('promotion', 'addon', 'pool', 'credits')),
    benefit_id text,
    source_id uuid,
    seconds integer NOT NULL CHECK (seconds > 0),
    micros bigint NOT NULL CHECK (micros >= 0),
    rate rate_terms,
    -- The order in which parts pay: a later slice may pay for what an earlier one left out.
    begins_at timestamptz NOT NULL,
    from_at timestamptz NOT NULL,
    to_at timestamptz NOT NULL CHECK (to_at > from_at),
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, dial_out_id, slice, part, filed_at),
    CONSTRAINT credits_have_lots CHECK (
        (kind = 'credits') = (source_id IS null) AND (kind = 'credits') = (benefit_id IS null)
    ),
    CONSTRAINT money_has_a_rate CHECK (
        CASE kind WHEN 'credits' THEN rate IS NOT null ELSE rate IS null AND micros = 0 END
    )
) PARTITION BY RANGE (filed_at);

-- What was billed of a part. A part that was given back has none.
CREATE TABLE charge (
    tenant_id uuid NOT NULL,
    dial_out_id uuid NOT NULL,
    filed_at timestamptz NOT NULL,
    slice smallint NOT NULL,
    part smallint NOT NULL,
    seconds integer NOT NULL CHECK (seconds >= 0),
    micros bigint NOT NULL CHECK (micros >= 0),
    PRIMARY KEY (tenant_id, dial_out_id, slice, part, filed_at)
) PARTITION BY RANGE (filed_at);

-- The journal: every change of a source's totals, and whose call it was for. Filed with its
-- dial-out, or by its own instant if it has none. Each entry's digest is of itself and of the
-- one before it, so that none can be changed, left out or put in unseen.
CREATE TABLE entry (
    tenant_id uuid NOT NULL,
    filed_at timestamptz NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    source_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('grant', 'reserve', 'settle', 'void', 'expire')),
    granted_delta bigint NOT NULL,
    used_delta bigint NOT NULL,
    reserved_delta bigint NOT NULL,
    dial_out_id uuid,
    slice smallint,
    part smallint,
    at timestamptz NOT NULL,
    written_at timestamptz NOT NULL,
    -- In this order, the entries of a call lie together, and are found by it.
    PRIMARY KEY (tenant_id, filed_at, number),
    CONSTRAINT deltas_of_kind CHECK (
        CASE kind
            WHEN 'grant' THEN granted_delta > 0 AND used_delta = 0 AND reserved_delta = 0
            WHEN 'reserve' THEN granted_delta = 0 AND used_delta = 0 AND reserved_delta >= 0
            WHEN 'settle'
                THEN granted_delta = 0 AND used_delta BETWEEN 0 AND -reserved_delta
            ELSE granted_delta = 0 AND used_delta = 0 AND reserved_delta <= 0
        END
    ),
    CONSTRAINT part_unless_grant CHECK (
        num_nonnulls(dial_out_id, slice, part) = CASE kind WHEN 'grant' THEN 0 ELSE 3 END
    )
) PARTITION BY RANGE (filed_at);

-- One entry sets aside what a part draws on a source, and one ends it.
CREATE UNIQUE INDEX entry_of_part
ON entry (tenant_id, dial_out_id, slice, part, source_id, (kind = 'reserve'), filed_at)
WHERE dial_out_id IS NOT null;

-- The last entry of a tenant in each month of filing, and the digest that the month's first
-- one was joined to: the last of the month before, at that moment.
CREATE TABLE chain (
    tenant_id uuid NOT NULL REFERENCES tenant,
    month timestamptz NOT NULL,
    origin bytea NOT NULL,
    number bigint NOT NULL DEFAULT 0,
    digest bytea NOT NULL,
    PRIMARY KEY (tenant_id, month)
) WITH (fillfactor = 50);

-- What the entries of a month that was taken out come to, source by source.
CREATE TABLE carry (
    tenant_id uuid NOT NULL,
    month timestamptz NOT NULL,
    source_id uuid NOT NULL,
    granted bigint NOT NULL,
    used bigint NOT NULL,
    reserved bigint NOT NULL CHECK (reserved = 0),
    entries bigint NOT NULL,
    PRIMARY KEY (tenant_id, month, source_id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source,
    FOREIGN KEY (tenant_id, month) REFERENCES chain
);

-- History is only ever appended to, and nothing leaves a final state.

CREATE TRIGGER part_append_only BEFORE UPDATE OR DELETE ON part
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER part_kept BEFORE TRUNCATE ON part
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER charge_append_only BEFORE UPDATE OR DELETE ON charge
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER charge_kept BEFORE TRUNCATE ON charge
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER entry_append_only BEFORE UPDATE OR DELETE ON entry
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER entry_kept BEFORE TRUNCATE ON entry
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER dial_out_final BEFORE UPDATE ON dial_out
FOR EACH ROW WHEN (old.state IN ('refused', 'ended')) EXECUTE FUNCTION refuse_change();

CREATE TRIGGER dial_out_undeleted BEFORE DELETE ON dial_out
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER dial_out_kept BEFORE TRUNCATE ON dial_out
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER carry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON carry
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Partitions: one for what no month was made for, and those of the calls that there are.

CREATE TABLE dial_out_default PARTITION OF dial_out DEFAULT WITH (fillfactor = 60);

CREATE TABLE part_default PARTITION OF part DEFAULT;

CREATE TABLE charge_default PARTITION OF charge DEFAULT;

CREATE TABLE entry_default PARTITION OF entry DEFAULT;

-- What was there before. A call of the version before set its whole length aside as one slice.

INSERT INTO dial_out (
    tenant_id, dial_out_id, requested_at, kind, organizer_id, initiator_id, conference_id,
    number_typed, state, reason, destination, region, number_kind, expires_at, released_at,
    answered_at, seen_at, ended_at, asked_kinds, asked_benefits, may_finish, talk_seconds_max,
    slice_seconds, slices, talk_seconds, limit_seconds, ring_seconds, caller_id, gate_uniqueid,
    disposition, hangup_cause, billable_seconds, overrun_seconds, evidence, explanation, sources
)
SELECT
    d.tenant_id,
    d.dial_out_id,
    d.requested_at,
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
    d.expires_at,
    d.released_at,
    d.answered_at,
    d.seen_at,
    d.ended_at,
    CASE WHEN d.talk_seconds IS NOT null THEN '{}'::text[] END AS asked_kinds,
    CASE WHEN d.talk_seconds IS NOT null THEN '{}'::text[] END AS asked_benefits,
    CASE WHEN d.talk_seconds IS NOT null THEN false END AS may_finish,
    coalesce(d.limit_seconds, d.talk_seconds) AS talk_seconds_max,
    d.talk_seconds AS slice_seconds,
    CASE WHEN d.talk_seconds IS NOT null THEN 1 END AS slices,
    d.talk_seconds,
    coalesce(d.limit_seconds, d.talk_seconds) AS limit_seconds,
    d.ring_seconds,
    d.caller_id,
    d.gate_uniqueid,
    d.disposition,
    d.hangup_cause,
    d.billable_seconds,
    d.overrun_seconds,
    d.evidence,
    d.explanation,
    d.sources
FROM old_dial_out AS d;

INSERT INTO part (
    tenant_id, dial_out_id, filed_at, slice, part, kind, benefit_id, source_id, seconds, micros,
    rate, begins_at, from_at, to_at, at
)
SELECT
    p.tenant_id,
    p.dial_out_id,
    d.requested_at AS filed_at,
    p.slice,
    p.part,
    s.kind,
    s.benefit_id,
    CASE WHEN s.kind <> 'credits' THEN p.source_id END AS source_id,
    p.seconds,
    p.micros,
    p.rate,
    r.at AS begins_at,
    '-infinity' AS from_at,
    'infinity' AS to_at,
    r.at
FROM reservation_part AS p
INNER JOIN reservation AS r
    ON p.tenant_id = r.tenant_id AND p.dial_out_id = r.dial_out_id AND p.slice = r.slice
INNER JOIN source AS s ON p.tenant_id = s.tenant_id AND p.source_id = s.source_id
INNER JOIN old_dial_out AS d ON p.tenant_id = d.tenant_id AND p.dial_out_id = d.dial_out_id;

INSERT INTO charge (tenant_id, dial_out_id, filed_at, slice, part, seconds, micros)
SELECT
    b.tenant_id,
    b.dial_out_id,
    d.requested_at AS filed_at,
    b.slice,
    b.part,
    b.seconds,
    b.micros
FROM settlement AS b
INNER JOIN old_dial_out AS d ON b.tenant_id = d.tenant_id AND b.dial_out_id = d.dial_out_id;

-- The digest is that of the function entry_digest; here it is needed before there is one.
DO $$
DECLARE
    v_entry entry;
    v_old record;
    v_chain chain;
BEGIN
    FOR v_old IN
        SELECT e.*, coalesce(d.requested_at, e.at) AS filed_at
        FROM old_entry AS e
        LEFT JOIN old_dial_out AS d
            ON e.tenant_id = d.tenant_id AND e.dial_out_id = d.dial_out_id
        ORDER BY e.tenant_id, date_trunc('month', coalesce(d.requested_at, e.at), 'UTC'), e.entry_id
    LOOP
        IF (v_chain.tenant_id, v_chain.month)
            IS DISTINCT FROM (v_old.tenant_id, date_trunc('month', v_old.filed_at, 'UTC'))
        THEN
            v_chain.digest := CASE v_chain.tenant_id
                WHEN v_old.tenant_id THEN v_chain.digest
                ELSE sha256(convert_to(v_old.tenant_id::text, 'UTF8'))
            END;
            v_chain.tenant_id := v_old.tenant_id;
            v_chain.month := date_trunc('month', v_old.filed_at, 'UTC');
            v_chain.number := 0;
            INSERT INTO chain (tenant_id, month, origin, digest)
            VALUES (v_chain.tenant_id, v_chain.month, v_chain.digest, v_chain.digest);
        END IF;
        v_chain.number := v_chain.number + 1;
        v_entry.tenant_id := v_old.tenant_id;
        v_entry.filed_at := v_old.filed_at;
        v_entry.number := v_chain.number;
        v_entry.digest := null;
        v_entry.source_id := v_old.source_id;
        v_entry.kind := v_old.kind;
        v_entry.granted_delta := v_old.granted_delta;
        v_entry.used_delta := v_old.used_delta;
        v_entry.reserved_delta := v_old.reserved_delta;
        v_entry.dial_out_id := v_old.dial_out_id;
        v_entry.slice := v_old.slice;
        v_entry.part := v_old.part;
        v_entry.at := v_old.at;
        v_entry.written_at := v_old.written_at;
        v_chain.digest := sha256(
            v_chain.digest
            || convert_to(
                concat_ws(
                    '|',
                    v_entry.tenant_id, extract(EPOCH FROM v_entry.filed_at), v_entry.number,
                    v_entry.source_id, v_entry.kind, v_entry.granted_delta, v_entry.used_delta,
                    v_entry.reserved_delta, coalesce(v_entry.dial_out_id::text, '-'),
                    coalesce(v_entry.slice, 0), coalesce(v_entry.part, 0),
                    extract(EPOCH FROM v_entry.at), extract(EPOCH FROM v_entry.written_at)
                ),
                'UTF8'
            )
        );
        v_entry.digest := v_chain.digest;
        INSERT INTO entry VALUES (v_entry.*);
        UPDATE chain AS c
        SET number = v_chain.number, digest = v_chain.digest
        WHERE c.tenant_id = v_chain.tenant_id AND c.month = v_chain.month;
    END LOOP;
END
$$;

DROP TABLE settlement, reservation_end, reservation_part, reservation, old_entry, old_dial_out;

-- Valid once the reasons are loaded, after this migration.
ALTER TABLE dial_out
ADD CONSTRAINT dial_out_reason_fkey FOREIGN KEY (reason) REFERENCES reason NOT VALID;

RESET search_path;

RESET ROLE;

-- migrate: rollback

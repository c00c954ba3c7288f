-- Tenants, what pays for their calls, the journal of it, and the dial-outs.
-- depends:

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- The price of a minute and how time is counted for it. Copied into every reservation,
-- so that a later change of the deck changes no call that was allowed before it.
CREATE TYPE rate_terms AS (
    deck_id integer,
    prefix text,
    currency text,
    price_micros bigint,
    connect_fee_micros bigint,
    initial_increment_seconds integer,
    increment_seconds integer
);

-- What one source can give to one call, before anything is written.
CREATE TYPE part_proposal AS (
    part smallint,
    source_id uuid,
    seconds integer,
    micros bigint,
    amount bigint
);

-- Reference data: the same for all tenants.

CREATE TABLE country (
    region text PRIMARY KEY CHECK (region ~ '^[A-Z]{2}$'),
    name text NOT NULL,
    audio_conferencing_sold text NOT NULL
    CHECK (audio_conferencing_sold IN ('yes', 'no', 'ppm_only', 'outside_users_only', 'unknown')),
    credits_sold text NOT NULL CHECK (credits_sold IN ('yes', 'no', 'unknown'))
);

CREATE TABLE zone_member (
    zone text NOT NULL,
    region text NOT NULL REFERENCES country,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL CHECK (valid_to > valid_from),
    PRIMARY KEY (zone, region, valid_from)
);

CREATE TABLE rate_deck (
    deck_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    UNIQUE (deck_id, currency)
);

CREATE TABLE rate (
    deck_id integer NOT NULL REFERENCES rate_deck,
    prefix text NOT NULL CHECK (prefix ~ '^[1-9][0-9]{0,14}$'),
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity' CHECK (valid_to > valid_from),
    price_micros bigint NOT NULL CHECK (price_micros BETWEEN 0 AND 1000000000000),
    connect_fee_micros bigint NOT NULL CHECK (connect_fee_micros BETWEEN 0 AND 1000000000000),
    initial_increment_seconds integer NOT NULL
    CHECK (initial_increment_seconds BETWEEN 1 AND 3600),
    increment_seconds integer NOT NULL CHECK (increment_seconds BETWEEN 1 AND 3600),
    PRIMARY KEY (deck_id, prefix, valid_from)
);

-- Tenants.

CREATE TABLE tenant (
    tenant_id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 256),
    suspended boolean NOT NULL DEFAULT false,
    time_zone text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    rate_deck_id integer,
    -- A deck in another currency could charge a tenant's credits with the wrong money.
    FOREIGN KEY (rate_deck_id, currency) REFERENCES rate_deck (deck_id, currency)
);

CREATE TABLE organizer (
    tenant_id uuid NOT NULL REFERENCES tenant,
    organizer_id text NOT NULL CHECK (organizer_id ~ '^[A-Za-z0-9._@+-]{1,128}$'),
    display_name text NOT NULL CHECK (length(display_name) <= 256),
    region text NOT NULL CHECK (region ~ '^[A-Z]{2}$'),
    dial_out_permission text NOT NULL
    CHECK (dial_out_permission IN ('any', 'domestic', 'zone_a', 'none')),
    PRIMARY KEY (tenant_id, organizer_id)
);

CREATE TABLE licence (
    tenant_id uuid NOT NULL,
    organizer_id text NOT NULL,
    sku text NOT NULL CHECK (sku IN ('audio_conferencing', 'communications_credits')),
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL CHECK (valid_to > valid_from),
    PRIMARY KEY (tenant_id, organizer_id, sku, valid_from),
    FOREIGN KEY (tenant_id, organizer_id) REFERENCES organizer
);

-- What pays. Running totals of the journal, one row a source.

CREATE TABLE source (
    tenant_id uuid NOT NULL REFERENCES tenant,
    source_id uuid NOT NULL DEFAULT uuidv7(),
    kind text NOT NULL CHECK (kind IN ('pool', 'credits')),
    unit text NOT NULL CHECK (unit IN ('seconds', 'micros')),
    currency text,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL CHECK (valid_to > valid_from),
    -- When the next licence starts that brings minutes into this pool.
    recount_at timestamptz,
    granted bigint NOT NULL DEFAULT 0,
    used bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    free bigint GENERATED ALWAYS AS (granted - used - reserved) STORED,
    PRIMARY KEY (tenant_id, source_id),
    CONSTRAINT nothing_overdrawn CHECK (granted - used - reserved >= 0),
    CONSTRAINT money_has_a_currency CHECK ((unit = 'micros') = (currency IS NOT null)),
    CONSTRAINT unit_of_kind CHECK ((unit = 'seconds') = (kind = 'pool'))
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX source_pool_of_month ON source (tenant_id, valid_from) WHERE kind = 'pool';

CREATE UNIQUE INDEX source_credits ON source (tenant_id) WHERE kind = 'credits';

-- Dial-outs. No foreign key to the organizer: an unknown one is refused, and recorded.

CREATE TABLE dial_out (
    tenant_id uuid NOT NULL REFERENCES tenant,
    dial_out_id uuid NOT NULL,
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
    requested_at timestamptz NOT NULL,
    expires_at timestamptz,
    released_at timestamptz,
    answered_at timestamptz,
    seen_at timestamptz,
    ended_at timestamptz,
    talk_seconds integer CHECK (talk_seconds > 0),
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
    PRIMARY KEY (tenant_id, dial_out_id),
    CONSTRAINT refused_for_a_reason CHECK ((state = 'refused') = (reason IS NOT null)),
    CONSTRAINT bounded_unless_refused CHECK (
        num_nonnulls(expires_at, talk_seconds, ring_seconds, caller_id)
        = CASE state WHEN 'refused' THEN 0 ELSE 4 END
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
) WITH (fillfactor = 60);

-- The predicate names only columns that a claim leaves alone: a claim is on the path of
-- the call, and an update that touches no index is a heap-only one.
CREATE INDEX dial_out_open ON dial_out (tenant_id, dial_out_id)
WHERE ended_at IS null AND expires_at IS NOT null;

CREATE INDEX dial_out_by_time ON dial_out (tenant_id, requested_at);

-- A call is paid for in slices; each slice by parts, in order, each part by one source.

CREATE TABLE reservation (
    tenant_id uuid NOT NULL,
    dial_out_id uuid NOT NULL,
    slice smallint NOT NULL CHECK (slice >= 1),
    seconds integer NOT NULL CHECK (seconds > 0),
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, dial_out_id, slice),
    FOREIGN KEY (tenant_id, dial_out_id) REFERENCES dial_out
);

CREATE TABLE reservation_part (
    tenant_id uuid NOT NULL,
    dial_out_id uuid NOT NULL,
    slice smallint NOT NULL,
    part smallint NOT NULL CHECK (part >= 1),
    source_id uuid NOT NULL,
    seconds integer NOT NULL CHECK (seconds > 0),
    micros bigint NOT NULL CHECK (micros >= 0),
    rate rate_terms,
    PRIMARY KEY (tenant_id, dial_out_id, slice, part),
    FOREIGN KEY (tenant_id, dial_out_id, slice) REFERENCES reservation,
    FOREIGN KEY (tenant_id, source_id) REFERENCES source,
    CONSTRAINT money_has_a_rate CHECK (rate IS NOT null OR (rate IS null AND micros = 0))
);

CREATE INDEX reservation_part_by_source ON reservation_part (tenant_id, source_id);

CREATE TABLE reservation_end (
    tenant_id uuid NOT NULL,
    dial_out_id uuid NOT NULL,
    slice smallint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('settle', 'void', 'expire')),
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, dial_out_id, slice),
    FOREIGN KEY (tenant_id, dial_out_id, slice) REFERENCES reservation
);

CREATE TABLE settlement (
    tenant_id uuid NOT NULL,
    dial_out_id uuid NOT NULL,
    slice smallint NOT NULL,
    part smallint NOT NULL,
    seconds integer NOT NULL CHECK (seconds >= 0),
    micros bigint NOT NULL CHECK (micros >= 0),
    PRIMARY KEY (tenant_id, dial_out_id, slice, part),
    FOREIGN KEY (tenant_id, dial_out_id, slice, part) REFERENCES reservation_part
);

-- The journal: every change of a source's totals, and whose call it was for.

CREATE TABLE entry (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    entry_id uuid NOT NULL DEFAULT uuidv7(),
    kind text NOT NULL CHECK (kind IN ('grant', 'reserve', 'settle', 'void', 'expire')),
    granted_delta bigint NOT NULL DEFAULT 0,
    used_delta bigint NOT NULL DEFAULT 0,
    reserved_delta bigint NOT NULL DEFAULT 0,
    grant_id uuid,
    dial_out_id uuid,
    slice smallint,
    part smallint,
    at timestamptz NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, source_id, entry_id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source,
    FOREIGN KEY (tenant_id, dial_out_id, slice, part) REFERENCES reservation_part,
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
        AND (grant_id IS null OR kind = 'grant')
    )
);

-- One entry sets a part aside and one ends it.
CREATE UNIQUE INDEX entry_of_part ON entry (tenant_id, dial_out_id, slice, part, (kind = 'reserve'))
WHERE dial_out_id IS NOT null;

CREATE UNIQUE INDEX entry_of_grant ON entry (tenant_id, grant_id) WHERE grant_id IS NOT null;

-- History is only ever appended to, and nothing leaves a final state: not even the owner
-- changes it by mistake.

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'what is recorded in % is never changed', tg_table_name
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER reservation_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reservation
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER reservation_part_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reservation_part
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER reservation_end_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reservation_end
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER settlement_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER dial_out_final BEFORE UPDATE ON dial_out
FOR EACH ROW WHEN (old.state IN ('refused', 'ended')) EXECUTE FUNCTION refuse_change();

CREATE TRIGGER dial_out_kept BEFORE DELETE OR TRUNCATE ON dial_out
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

RESET search_path;

RESET ROLE;

-- migrate: rollback

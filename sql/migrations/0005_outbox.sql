-- What others must hear of, how they were told, and credits that are recharged by themselves.
-- depends: 0004_rate_windows

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- Whose credits are recharged: by how much, and below which balance. Whoever is not here pays
-- in when he likes.
CREATE TABLE auto_recharge (
    tenant_id uuid PRIMARY KEY REFERENCES tenant,
    amount_micros bigint NOT NULL CHECK (amount_micros BETWEEN 1 AND 1000000000000000),
    trigger_micros bigint NOT NULL CHECK (trigger_micros BETWEEN 1 AND 1000000000000000),
    backoff_seconds integer NOT NULL CHECK (backoff_seconds BETWEEN 60 AND 2592000)
);

CREATE TRIGGER auto_recharge_audited AFTER INSERT OR UPDATE OR DELETE ON auto_recharge
FOR EACH ROW EXECUTE FUNCTION audit_change();

-- The tenant's trigger stands at each of its lots: a balance below it is in no lot that has
-- more, so that a call asks for the balance only where it may be low.
ALTER TABLE source
ADD COLUMN recharge_below bigint,
ADD CONSTRAINT recharge_of_credits CHECK (recharge_below IS null OR kind = 'credits');

CREATE INDEX source_lapsing ON source (valid_to) WHERE kind = 'credits';

-- What was asked of the payment system. Its id is that of the funds that answer it. One that
-- failed may still be paid; one that was paid stays so.
CREATE TABLE recharge (
    tenant_id uuid NOT NULL REFERENCES tenant,
    recharge_id uuid NOT NULL DEFAULT uuidv7(),
    amount_micros bigint NOT NULL CHECK (amount_micros > 0),
    requested_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'recharged', 'failed')),
    ended_at timestamptz,
    because text CHECK (length(because) BETWEEN 1 AND 256),
    PRIMARY KEY (tenant_id, recharge_id),
    CONSTRAINT ended_unless_open CHECK ((state = 'open') = (ended_at IS null)),
    CONSTRAINT failed_for_a_reason CHECK ((state = 'failed') = (because IS NOT null))
);

CREATE UNIQUE INDEX recharge_open ON recharge (tenant_id) WHERE state = 'open';

CREATE TRIGGER recharge_final BEFORE UPDATE ON recharge
FOR EACH ROW WHEN (old.state = 'recharged') EXECUTE FUNCTION refuse_change();

CREATE TRIGGER recharge_kept BEFORE DELETE OR TRUNCATE ON recharge
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER recharge_audited AFTER UPDATE ON recharge
FOR EACH ROW EXECUTE FUNCTION audit_change();

-- The kinds are those of gateway/core/event.py; a test compares them. What an event is about,
-- a source or a recharge, has each kind of event once.
CREATE TABLE event (
    event_id uuid PRIMARY KEY DEFAULT uuidv7(),
    tenant_id uuid NOT NULL REFERENCES tenant,
    kind text NOT NULL CHECK (
        kind IN (
            'pool.used_80', 'pool.used_100', 'addon.fair_use_80', 'addon.fair_use_100',
            'credits.zero', 'credits.expiring', 'credits.recharge_due', 'credits.recharged',
            'credits.recharge_failed'
        )
    ),
    subject_id uuid NOT NULL,
    at timestamptz NOT NULL,
    data jsonb NOT NULL,
    UNIQUE (tenant_id, kind, subject_id)
);

CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How far an event has come. `number` is its place for whoever reads page by page: given when
-- somebody reads, so that none is ever put in before one that was read already. While an
-- attempt is made, `next_at` is when it counts as lost.
CREATE TABLE delivery (
    event_id uuid PRIMARY KEY REFERENCES event,
    number bigint UNIQUE CHECK (number > 0),
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'failing', 'delivered')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    first_at timestamptz,
    next_at timestamptz NOT NULL DEFAULT '-infinity',
    fault text CHECK (length(fault) <= 128),
    delivered_at timestamptz,
    CONSTRAINT delivered_at_an_instant CHECK ((state = 'delivered') = (delivered_at IS NOT null)),
    CONSTRAINT attempted_from_an_instant CHECK ((attempts > 0) = (first_at IS NOT null))
) WITH (fillfactor = 50);

CREATE INDEX delivery_due ON delivery (next_at, event_id) WHERE state <> 'delivered';

CREATE INDEX delivery_unnumbered ON delivery (event_id) WHERE number IS null;

CREATE TRIGGER delivery_final BEFORE UPDATE OF state ON delivery
FOR EACH ROW WHEN (old.state = 'delivered') EXECUTE FUNCTION refuse_change();

CREATE TRIGGER delivery_kept BEFORE DELETE OR TRUNCATE ON delivery
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

RESET search_path;

RESET ROLE;

-- migrate: rollback

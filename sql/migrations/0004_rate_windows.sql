-- Decks in versions, each whole and from an instant on, with prices by the hour of the week.
-- depends: 0003_slices

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- What a deck holds from an instant on: all of it, until the next version starts. So there is
-- no instant with two prices, nor a gap between two of them, and a version that lies ahead
-- touches nothing of what holds before. Hours of the week are those of its time zone.
CREATE TABLE rate_version (
    version_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    deck_id integer NOT NULL REFERENCES rate_deck,
    starts_at timestamptz NOT NULL,
    time_zone text NOT NULL,
    rates integer NOT NULL CHECK (rates >= 0),
    UNIQUE (deck_id, starts_at)
);

-- Slot 0 is the price at any time; the others override it within their minutes of the week,
-- which are counted from Monday midnight. Rows are never changed. Digits need no collation.
-- There is no foreign key: to check it would take as long as the rest of an import, and rows
-- of no version price nothing.
CREATE TABLE new_rate (
    version_id integer NOT NULL,
    prefix text COLLATE "C" NOT NULL CHECK (prefix ~ '^[1-9][0-9]{0,14}$'),
    slot smallint NOT NULL CHECK (slot >= 0),
    minutes int4multirange CHECK (NOT isempty(minutes) AND minutes <@ '{[0,10080)}'),
    name text CHECK (length(name) BETWEEN 1 AND 128),
    price_micros bigint NOT NULL CHECK (price_micros BETWEEN 0 AND 1000000000000),
    connect_fee_micros bigint NOT NULL CHECK (connect_fee_micros BETWEEN 0 AND 1000000000000),
    initial_increment_seconds integer NOT NULL
    CHECK (initial_increment_seconds BETWEEN 1 AND 3600),
    increment_seconds integer NOT NULL CHECK (increment_seconds BETWEEN 1 AND 3600),
    regions text[]
    CHECK (cardinality(regions) > 0 AND array_position(regions, null) IS null),
    CONSTRAINT always_or_within_minutes CHECK ((slot = 0) = (minutes IS null))
);

-- A version for each instant at which some rate began or ended, with all that held then.

INSERT INTO rate_version (deck_id, starts_at, time_zone, rates)
SELECT
    b.deck_id,
    b.at,
    'UTC' AS time_zone,
    0 AS rates
FROM (
    SELECT
        r.deck_id,
        r.valid_from AS at
    FROM rate AS r
    UNION
    SELECT
        r.deck_id,
        r.valid_to AS at
    FROM rate AS r
    WHERE r.valid_to < 'infinity'
) AS b
ORDER BY b.deck_id, b.at;

INSERT INTO new_rate (
    version_id, prefix, slot,
    price_micros, connect_fee_micros, initial_increment_seconds, increment_seconds, regions
)
SELECT
    v.version_id,
    r.prefix,
    0 AS slot,
    r.price_micros,
    r.connect_fee_micros,
    r.initial_increment_seconds,
    r.increment_seconds,
    r.regions
FROM rate AS r
INNER JOIN rate_version AS v
    ON r.deck_id = v.deck_id AND r.valid_from <= v.starts_at AND r.valid_to > v.starts_at;

UPDATE rate_version AS v
SET rates = r.rates
FROM (
    SELECT
        version_id,
        count(*) AS rates
    FROM new_rate
    GROUP BY version_id
) AS r
WHERE v.version_id = r.version_id;

DROP TABLE rate;

ALTER TABLE new_rate RENAME TO rate;

ALTER TABLE rate ADD PRIMARY KEY (version_id, prefix, slot);

-- The rows of a sheet on their way into a version, within one transaction: so a deck of any
-- size comes in small statements. What is here when the server dies was nobody's yet.
CREATE UNLOGGED TABLE rate_draft (
    drafted_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    prefix text COLLATE "C" NOT NULL,
    minutes int4multirange,
    name text,
    price_micros bigint NOT NULL,
    connect_fee_micros bigint NOT NULL,
    initial_increment_seconds integer NOT NULL,
    increment_seconds integer NOT NULL,
    regions text[]
);

-- A version is audited as one row, and not by its thousands of rates, which never change.

ALTER TABLE rate_deck DROP COLUMN rates, DROP COLUMN rates_from;

CREATE TRIGGER rate_version_audited AFTER INSERT OR UPDATE OR DELETE ON rate_version
FOR EACH ROW EXECUTE FUNCTION audit_change();

RESET search_path;

RESET ROLE;

-- migrate: rollback

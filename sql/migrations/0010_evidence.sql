-- How far the end of a call is proved, and whose gate another gateway may answer.
-- depends: 0009_entrances

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- A call lasted between least_seconds and most_seconds, which are equal where its end is proved;
-- `unproved` says by which of them it was billed where it is not. One that was `granted` was
-- placed while the ledger was away, and is paid for with what there is. Months that were taken out
-- get the same columns, so that they can be attached again.
--
-- Calls wait while the table is altered: so no row of it is read here. What is written from now on
-- is held to the new constraints; what was there is read by 0011, while calls go on.

DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN
        SELECT 'dialout.dial_out'::regclass
        UNION ALL
        SELECT c.oid::regclass
        FROM pg_class AS c
        INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
        WHERE
            n.nspname = 'dialout_archive' AND c.relkind = 'r'
            AND c.relname ~ '^dial_out_[0-9]{4}_[0-9]{2}$'
    LOOP
        EXECUTE format(
            $alter$
            ALTER TABLE %s
            ADD COLUMN taken_over boolean NOT NULL DEFAULT false,
            ADD COLUMN asterisk_booted_at timestamptz,
            ADD COLUMN least_seconds integer,
            ADD COLUMN most_seconds integer,
            ADD COLUMN unproved text,
            ADD COLUMN granted boolean NOT NULL DEFAULT false,
            ADD CONSTRAINT dial_out_unproved_check CHECK (unproved IN ('least', 'most')) NOT VALID,
            DROP CONSTRAINT funded_unless_dialled_in,
            ADD CONSTRAINT funded_before_it_began CHECK (
                talk_seconds BETWEEN 0 AND talk_seconds_max
                AND (talk_seconds > 0 OR kind = 'dial_in' OR granted)
            ) NOT VALID,
            ADD CONSTRAINT bounded_evidence CHECK (
                num_nonnulls(least_seconds, most_seconds) <> 1
                AND least_seconds BETWEEN 0 AND most_seconds
                AND (unproved IS NOT null OR least_seconds = most_seconds)
            ) NOT VALID
            $alter$,
            v_table
        );
    END LOOP;
END
$$;

-- When evidence of the calls of a bridge may be missing, by the clock of its Asterisk; and when
-- each gateway last served it. Like numbers that are called too often, this is no tenant's.

CREATE TABLE outage (
    outage_id uuid PRIMARY KEY,
    bridge text NOT NULL CHECK (bridge ~ '^[a-z][a-z0-9-]{0,30}$'),
    kind text NOT NULL CHECK (kind IN ('link', 'asterisk', 'ledger', 'gateway', 'clock')),
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    detail text NOT NULL CHECK (length(detail) <= 200),
    CONSTRAINT ended_after_it_began CHECK (ended_at >= began_at)
);

CREATE INDEX outage_by_time ON outage (began_at, outage_id);

CREATE TRIGGER outage_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outage
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE gateway_beat (
    bridge text NOT NULL CHECK (bridge ~ '^[a-z][a-z0-9-]{0,30}$'),
    gateway_id uuid NOT NULL,
    began_at timestamptz NOT NULL,
    beat_at timestamptz NOT NULL CHECK (beat_at >= began_at),
    has_stopped boolean NOT NULL,
    PRIMARY KEY (bridge, gateway_id)
) WITH (fillfactor = 50);

RESET search_path;

RESET ROLE;

-- migrate: rollback

-- Several bridges, calls that the callee accepts by a key, and telephones that call in.
-- depends: 0008_guard

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

-- What a tenant may choose of who must press a key before joining.

ALTER TABLE tenant_policy
ADD COLUMN confirmation text NOT NULL DEFAULT 'call_me'
CHECK (confirmation IN ('never', 'call_me', 'always'));

-- A meeting that is registered with its organizer is no other organizer's.

ALTER TABLE meeting
ADD COLUMN organizer_id text,
ADD FOREIGN KEY (tenant_id, organizer_id) REFERENCES organizer;

-- The prices of calls into the tenant's service numbers.

ALTER TABLE tenant
ADD COLUMN inbound_deck_id integer,
ADD CONSTRAINT tenant_inbound_deck_fkey
FOREIGN KEY (inbound_deck_id, currency) REFERENCES rate_deck (deck_id, currency);

-- A dial-out is placed by one bridge. `confirms` says that its callee must press a key before
-- joining. A telephone that calls in may be let in without funds. Months that were taken out
-- get the same columns, so that they can be attached again.

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
            ADD COLUMN bridge text NOT NULL DEFAULT 'main'
            CONSTRAINT dial_out_bridge_check CHECK (bridge ~ '^[a-z][a-z0-9-]{0,30}$'),
            ADD COLUMN meeting_name text
            CONSTRAINT dial_out_meeting_name_check CHECK (length(meeting_name) BETWEEN 1 AND 100),
            ADD COLUMN confirms boolean NOT NULL DEFAULT false,
            ADD COLUMN joined_at timestamptz,
            DROP CONSTRAINT dial_out_kind_check1,
            ADD CONSTRAINT possible_kind CHECK (
                kind IN ('add_participant', 'call_me', 'intercept', 'keypad', 'dial_in')
            ),
            DROP CONSTRAINT dial_out_check2,
            ADD CONSTRAINT funded_unless_dialled_in CHECK (
                talk_seconds BETWEEN 0 AND talk_seconds_max
                AND (talk_seconds > 0 OR kind = 'dial_in')
            ),
            DROP CONSTRAINT bounded_unless_refused,
            ADD CONSTRAINT bounded_unless_refused CHECK (
                num_nonnulls(
                    expires_at, may_finish, talk_seconds_max, slice_seconds, slices, talk_seconds,
                    limit_seconds
                ) = CASE state WHEN 'refused' THEN 0 ELSE 7 END
                AND num_nonnulls(ring_seconds, caller_id) = CASE
                    WHEN state = 'refused' THEN 0
                    WHEN kind = 'dial_in' THEN num_nonnulls(caller_id)
                    ELSE 2
                END
            )
            $alter$,
            v_table
        );
    END LOOP;
END
$$;

ALTER TABLE dial_out ALTER COLUMN bridge DROP DEFAULT;

-- How often a number has been called of late, whoever asked, and until when it is to be left
-- alone because nobody there took a call. This table alone is no tenant's, because a nuisance
-- may have many: so it does not say whose calls they were.

CREATE TYPE cool_down AS (
    attempts integer,
    window_seconds integer,
    quiet_seconds integer
);

CREATE TABLE callee (
    destination text PRIMARY KEY CHECK (destination ~ '^\+[1-9][0-9]{6,14}$'),
    attempts integer NOT NULL CHECK (attempts >= 0),
    window_from timestamptz NOT NULL,
    quiet_until timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 70);

-- What an operator clears is written down; what goes by itself has no actor.

CREATE TRIGGER callee_cleared AFTER DELETE ON callee
FOR EACH ROW WHEN (nullif(current_setting('dialout.actor', true), '') IS NOT null)
EXECUTE FUNCTION audit_change();

-- The numbers that a participant was called at, to offer them again.

CREATE TABLE recent_number (
    tenant_id uuid NOT NULL REFERENCES tenant,
    initiator_id text NOT NULL CHECK (length(initiator_id) <= 256),
    destination text NOT NULL CHECK (destination ~ '^\+[1-9][0-9]{6,14}$'),
    number_typed text NOT NULL CHECK (length(number_typed) <= 256),
    last_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, initiator_id, destination)
);

CREATE INDEX recent_number_last ON recent_number (last_at);

RESET search_path;

RESET ROLE;

-- migrate: rollback

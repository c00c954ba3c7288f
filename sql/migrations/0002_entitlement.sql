-- Every rule of entitlement: benefits with periods, choices, lists, and who changed what.
-- depends: 0001_ledger

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

-- Reference data: the same for all tenants, replaced by each migration from the shipped files.

ALTER TABLE country DROP COLUMN audio_conferencing_sold, DROP COLUMN credits_sold;

ALTER TABLE country ADD COLUMN selector_2018 boolean NOT NULL DEFAULT false;

CREATE TABLE availability (
    region text NOT NULL REFERENCES country,
    version date NOT NULL,
    audio_conferencing_sold text NOT NULL
    CHECK (audio_conferencing_sold IN ('yes', 'no', 'ppm_only', 'outside_users_only')),
    credits_sold text NOT NULL CHECK (credits_sold IN ('yes', 'no')),
    call_me text NOT NULL,
    toll_numbers text NOT NULL CHECK (toll_numbers IN ('yes', 'no')),
    toll_free_numbers text NOT NULL CHECK (toll_free_numbers IN ('yes', 'no')),
    PRIMARY KEY (region, version)
);

-- Customers of a country who may not do something.
CREATE TABLE restriction (
    region text NOT NULL REFERENCES country,
    kind text NOT NULL CHECK (kind = 'dial_out_disabled'),
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL CHECK (valid_to > valid_from),
    source text NOT NULL,
    PRIMARY KEY (region, kind, valid_from)
);

-- Minutes that a licence brings. Null minutes: as many as are asked for, or, of the add-on,
-- as many as the tenant's choice says. Null zone: the tenant's choice lists the countries.
CREATE TABLE benefit (
    benefit_id text PRIMARY KEY CHECK (benefit_id ~ '^[a-z0-9_]{1,64}$'),
    kind text NOT NULL CHECK (kind IN ('promotion', 'addon', 'pool')),
    sku text NOT NULL,
    zone text,
    minutes_a_licence integer CHECK (minutes_a_licence BETWEEN 1 AND 44640),
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL CHECK (valid_to > valid_from),
    source text NOT NULL
);

CREATE TABLE high_risk_prefix (
    prefix text PRIMARY KEY CHECK (prefix ~ '^[1-9][0-9]{0,14}$'),
    region text NOT NULL,
    note text NOT NULL,
    source text NOT NULL,
    listed_on date NOT NULL
);

CREATE TABLE reason (
    code text PRIMARY KEY,
    message text NOT NULL,
    remedy text NOT NULL
);

ALTER TABLE rate ADD COLUMN regions text[]
CHECK (cardinality(regions) > 0 AND array_position(regions, null) IS null);

-- What the operator and the tenants decide.

CREATE TABLE operator_prefix (
    prefix text PRIMARY KEY CHECK (prefix ~ '^[1-9][0-9]{0,14}$'),
    note text NOT NULL CHECK (length(note) <= 256)
);

-- `exempt` takes a prefix out of the shipped list of high-risk ones, for this tenant.
CREATE TABLE tenant_prefix (
    tenant_id uuid NOT NULL REFERENCES tenant,
    prefix text NOT NULL CHECK (prefix ~ '^[1-9][0-9]{0,14}$'),
    effect text NOT NULL CHECK (effect IN ('block', 'exempt')),
    note text NOT NULL CHECK (length(note) <= 256),
    PRIMARY KEY (tenant_id, prefix, effect)
);

-- The defaults are those of gateway/core/choices.py; a test compares them.
CREATE TABLE tenant_policy (
    tenant_id uuid PRIMARY KEY REFERENCES tenant,
    addon_regions text[] NOT NULL DEFAULT '{CA,US}'
    CHECK (array_to_string(addon_regions, ',', '?') ~ '^([A-Z]{2}(,[A-Z]{2})*)?$'),
    addon_fair_use_minutes integer NOT NULL DEFAULT 10000
    CHECK (addon_fair_use_minutes BETWEEN 1 AND 44640),
    pool_basis text NOT NULL DEFAULT 'assigned' CHECK (pool_basis IN ('assigned', 'purchased')),
    ppm_needs_credits_licence boolean NOT NULL DEFAULT true,
    premium text NOT NULL DEFAULT 'deny' CHECK (premium IN ('deny', 'credits')),
    toll_free text NOT NULL DEFAULT 'deny' CHECK (toll_free IN ('deny', 'allow')),
    unallocated text NOT NULL DEFAULT 'deny' CHECK (unallocated IN ('deny', 'credits')),
    high_risk_prefixes text NOT NULL DEFAULT 'deny'
    CHECK (high_risk_prefixes IN ('deny', 'allow')),
    meeting_to_self text NOT NULL DEFAULT 'authenticated'
    CHECK (meeting_to_self IN ('organizer', 'authenticated', 'everyone')),
    meeting_to_third_party text NOT NULL DEFAULT 'authenticated'
    CHECK (meeting_to_third_party IN ('organizer', 'authenticated', 'everyone')),
    on_exhaustion text NOT NULL DEFAULT 'disconnect'
    CHECK (on_exhaustion IN ('disconnect', 'finish')),
    availability_version date NOT NULL DEFAULT '2018-04-03'
);

INSERT INTO tenant_policy (tenant_id) SELECT t.tenant_id FROM tenant AS t;

CREATE TABLE meeting (
    tenant_id uuid NOT NULL REFERENCES tenant,
    conference_id text NOT NULL CHECK (conference_id ~ '^[A-Za-z0-9._@-]{1,128}$'),
    to_self text NOT NULL CHECK (to_self IN ('organizer', 'authenticated', 'everyone')),
    to_third_party text NOT NULL
    CHECK (to_third_party IN ('organizer', 'authenticated', 'everyone')),
    PRIMARY KEY (tenant_id, conference_id)
);

-- Licences: how each came to be. One from before this migration has no channel.

ALTER TABLE licence DROP CONSTRAINT licence_sku_check;

ALTER TABLE licence
ADD CONSTRAINT licence_sku_check CHECK (
    sku IN (
        'audio_conferencing', 'audio_conferencing_ppm', 'extended_dialout_us_ca',
        'communications_credits'
    )
),
ADD COLUMN channel text CHECK (channel IN ('ea', 'ees', 'csp', 'web_direct')),
ADD COLUMN segment text CHECK (segment IN ('commercial', 'education', 'nonprofit', 'us_gcc')),
ADD COLUMN forced_by text CHECK (length(forced_by) BETWEEN 1 AND 128),
ADD COLUMN forced_because text CHECK (length(forced_because) BETWEEN 1 AND 256),
ADD CONSTRAINT forced_by_somebody_for_a_reason CHECK (num_nulls(forced_by, forced_because) <> 1);

-- What was bought. Counted only where the tenant's choice pool_basis says so.
CREATE TABLE purchase (
    tenant_id uuid NOT NULL REFERENCES tenant,
    purchase_id uuid NOT NULL,
    sku text NOT NULL CHECK (
        sku IN (
            'audio_conferencing', 'audio_conferencing_ppm', 'extended_dialout_us_ca',
            'communications_credits'
        )
    ),
    quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    channel text NOT NULL CHECK (channel IN ('ea', 'ees', 'csp', 'web_direct')),
    segment text NOT NULL CHECK (segment IN ('commercial', 'education', 'nonprofit', 'us_gcc')),
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL CHECK (valid_to > valid_from),
    PRIMARY KEY (tenant_id, purchase_id)
);

-- What pays: one source a benefit and month, of the whole tenant or, for the add-on, of one
-- organizer. One that is not capped is granted whatever is set aside of it, as it is.

INSERT INTO benefit (
    benefit_id, kind, sku, zone, minutes_a_licence, valid_from, valid_to, source
)
VALUES (
    'standard_pool', 'pool', 'audio_conferencing', 'zone_a', 60,
    '2019-12-01 00:00:00+00', 'infinity', 'replaced by the shipped file'
);

ALTER TABLE source DROP CONSTRAINT source_kind_check, DROP CONSTRAINT unit_of_kind;

DROP INDEX source_pool_of_month;

ALTER TABLE source
ADD COLUMN benefit_id text REFERENCES benefit,
ADD COLUMN organizer_id text,
ADD COLUMN capped boolean NOT NULL DEFAULT true;

UPDATE source SET benefit_id = 'standard_pool'
WHERE kind = 'pool';

ALTER TABLE source
ADD CONSTRAINT source_kind_check CHECK (kind IN ('promotion', 'addon', 'pool', 'credits')),
ADD CONSTRAINT unit_of_kind CHECK ((unit = 'micros') = (kind = 'credits')),
ADD CONSTRAINT benefit_unless_credits CHECK ((benefit_id IS null) = (kind = 'credits')),
ADD CONSTRAINT organizer_of_addon CHECK ((organizer_id IS NOT null) = (kind = 'addon')),
ADD CONSTRAINT capped_unless_promotion CHECK (capped OR kind = 'promotion'),
ADD FOREIGN KEY (tenant_id, organizer_id) REFERENCES organizer;

CREATE UNIQUE INDEX source_of_benefit
ON source (tenant_id, benefit_id, coalesce(organizer_id, ''), valid_from)
WHERE benefit_id IS NOT null;

-- A source that is due is counted when the transaction commits, once for all the licences
-- that it assigns. An organizer's own, of which there may be many, waits for the next call.

CREATE FUNCTION source_due() RETURNS trigger
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
BEGIN
    PERFORM benefit_recount(s.tenant_id, s.source_id, new.recount_at)
    FROM source AS s
    WHERE
        s.tenant_id = new.tenant_id
        AND s.source_id = new.source_id
        AND s.recount_at <= new.recount_at;
    RETURN null;
END
$$;

CREATE CONSTRAINT TRIGGER source_due AFTER UPDATE OF recount_at ON source
DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW
WHEN (
    new.organizer_id IS null
    AND new.recount_at IS NOT null
    AND (old.recount_at <= new.recount_at) IS NOT true
)
EXECUTE FUNCTION source_due();

-- Dial-outs. `limit_seconds` is how long Asterisk lets the call last; it is longer than what
-- is funded where the tenant lets calls finish. `sources` is what each source had when it
-- was asked, and what it gave.

ALTER TABLE dial_out
ADD COLUMN limit_seconds integer CHECK (limit_seconds >= talk_seconds),
ADD COLUMN sources json,
ADD CONSTRAINT dial_out_reason_fkey FOREIGN KEY (reason) REFERENCES reason NOT VALID;

-- Who changed what. Written by triggers, so that nothing is changed without it, whoever does.

CREATE TABLE tenant_audit (
    tenant_id uuid NOT NULL REFERENCES tenant,
    audit_id uuid NOT NULL DEFAULT uuidv7(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    because text,
    relation text NOT NULL,
    before jsonb,
    after jsonb,
    PRIMARY KEY (tenant_id, audit_id),
    CONSTRAINT something_changed CHECK (before IS NOT null OR after IS NOT null)
);

-- What touches all tenants.
CREATE TABLE operator_audit (
    audit_id uuid NOT NULL DEFAULT uuidv7() PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    because text,
    relation text NOT NULL,
    before jsonb,
    after jsonb,
    CONSTRAINT something_changed CHECK (before IS NOT null OR after IS NOT null)
);

CREATE TRIGGER tenant_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON tenant_audit
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TRIGGER operator_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_audit
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A deck is audited as one row, and not by its thousands of rates: those are never changed,
-- and found by the instant from which they hold.

ALTER TABLE rate_deck
ADD COLUMN rates integer NOT NULL DEFAULT 0 CHECK (rates >= 0),
ADD COLUMN rates_from timestamptz NOT NULL DEFAULT '-infinity';

UPDATE rate_deck AS d
SET rates = r.rates, rates_from = r.rates_from
FROM (
    SELECT
        deck_id,
        count(*) AS rates,
        max(valid_from) AS rates_from
    FROM rate
    WHERE valid_to = 'infinity'
    GROUP BY deck_id
) AS r
WHERE d.deck_id = r.deck_id;

-- Whoever provisions says who he is and why, for the transaction; of anybody else, the login
-- is written down. What has a tenant is that tenant's own affair.
CREATE FUNCTION audit_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_actor text := coalesce(nullif(current_setting('dialout.actor', true), ''), session_user);
    v_because text := nullif(current_setting('dialout.because', true), '');
    v_before jsonb := to_jsonb(old);
    v_after jsonb := to_jsonb(new);
    v_tenant_id uuid := coalesce(v_after, v_before) ->> 'tenant_id';
BEGIN
    IF v_before = v_after THEN
        RETURN null;
    END IF;
    IF v_tenant_id IS null THEN
        INSERT INTO operator_audit (actor, because, relation, before, after)
        VALUES (v_actor, v_because, tg_table_name, v_before, v_after);
    ELSE
        INSERT INTO tenant_audit (tenant_id, actor, because, relation, before, after)
        VALUES (v_tenant_id, v_actor, v_because, tg_table_name, v_before, v_after);
    END IF;
    RETURN null;
END
$$;

CREATE TRIGGER tenant_audited AFTER INSERT OR UPDATE OR DELETE ON tenant
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER tenant_policy_audited AFTER INSERT OR UPDATE OR DELETE ON tenant_policy
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER organizer_audited AFTER INSERT OR UPDATE OR DELETE ON organizer
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER meeting_audited AFTER INSERT OR UPDATE OR DELETE ON meeting
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER licence_audited AFTER INSERT OR UPDATE OR DELETE ON licence
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER purchase_audited AFTER INSERT OR UPDATE OR DELETE ON purchase
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER tenant_prefix_audited AFTER INSERT OR UPDATE OR DELETE ON tenant_prefix
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER operator_prefix_audited AFTER INSERT OR UPDATE OR DELETE ON operator_prefix
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER rate_deck_audited AFTER INSERT OR UPDATE OR DELETE ON rate_deck
FOR EACH ROW EXECUTE FUNCTION audit_change();

-- Funds that were bought. All other entries are the journal's own, and it is never changed.
CREATE TRIGGER entry_audited AFTER INSERT ON entry
FOR EACH ROW WHEN (new.grant_id IS NOT null) EXECUTE FUNCTION audit_change();

RESET search_path;

RESET ROLE;

-- migrate: rollback

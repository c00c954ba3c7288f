-- Limits, what counts against them, and the organizers who are blocked.
-- depends: 0005_outbox

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- How much a tenant, an organizer or a meeting may. An empty subject is the tenant itself, and
-- the default of all its organizers or meetings; null `most` is no limit, where the default
-- is one. Money is in micros of the tenant's currency, time in seconds.
CREATE TABLE call_limit (
    tenant_id uuid NOT NULL REFERENCES tenant,
    scope text NOT NULL CHECK (scope IN ('tenant', 'organizer', 'meeting')),
    subject text NOT NULL CHECK (length(subject) <= 256),
    kind text NOT NULL,
    most bigint CHECK (most >= 0),
    mode text NOT NULL CHECK (mode IN ('observe', 'refuse', 'block')),
    PRIMARY KEY (tenant_id, scope, subject, kind),
    CONSTRAINT tenant_is_no_default CHECK (scope <> 'tenant' OR subject = ''),
    CONSTRAINT scope_of_kind CHECK (
        CASE
            WHEN kind IN ('meeting_time', 'meeting_spend') THEN scope = 'meeting'
            WHEN kind IN ('fair_use', 'fair_use_notice') THEN scope = 'organizer'
            WHEN
                kind IN (
                    'concurrent_calls', 'calls_a_minute', 'callees_a_day', 'price', 'spend_a_day'
                )
                THEN scope IN ('tenant', 'organizer')
            ELSE false
        END
    ),
    CONSTRAINT notice_refuses_nothing CHECK (kind <> 'fair_use_notice' OR mode = 'observe')
);

CREATE TRIGGER call_limit_audited AFTER INSERT OR UPDATE OR DELETE ON call_limit
FOR EACH ROW EXECUTE FUNCTION audit_change();

-- What counts. An empty organizer is the tenant as a whole. A call counts, from its first
-- second to its last, for the day and the month in which it was asked for, in the tenant's
-- time zone; so what was set aside is given back to where it was taken from.

CREATE TABLE limit_now (
    tenant_id uuid NOT NULL REFERENCES tenant,
    organizer_id text NOT NULL,
    open_calls integer NOT NULL CHECK (open_calls >= 0),
    minute_at timestamptz NOT NULL,
    minute_calls integer NOT NULL,
    PRIMARY KEY (tenant_id, organizer_id)
) WITH (fillfactor = 50);

CREATE TABLE limit_day (
    tenant_id uuid NOT NULL REFERENCES tenant,
    day date NOT NULL,
    organizer_id text NOT NULL,
    callees integer NOT NULL,
    micros bigint NOT NULL,
    PRIMARY KEY (tenant_id, day, organizer_id)
) WITH (fillfactor = 50);

CREATE TABLE callee_day (
    tenant_id uuid NOT NULL REFERENCES tenant,
    day date NOT NULL,
    organizer_id text NOT NULL,
    callee text NOT NULL,
    PRIMARY KEY (tenant_id, day, organizer_id, callee)
);

CREATE TABLE meeting_day (
    tenant_id uuid NOT NULL REFERENCES tenant,
    day date NOT NULL,
    conference_id text NOT NULL,
    seconds bigint NOT NULL,
    micros bigint NOT NULL,
    PRIMARY KEY (tenant_id, day, conference_id)
) WITH (fillfactor = 50);

-- Seconds of calls that the add-on covers, whoever pays for them.
CREATE TABLE addon_month (
    tenant_id uuid NOT NULL REFERENCES tenant,
    organizer_id text NOT NULL,
    from_at timestamptz NOT NULL,
    seconds bigint NOT NULL,
    PRIMARY KEY (tenant_id, organizer_id, from_at)
) WITH (fillfactor = 50);

-- Who is blocked, and who was. A block ends by nothing but somebody who lifts it.
CREATE TABLE organizer_block (
    tenant_id uuid NOT NULL,
    block_id uuid NOT NULL DEFAULT uuidv7(),
    organizer_id text NOT NULL,
    at timestamptz NOT NULL,
    blocked_by text NOT NULL CHECK (length(blocked_by) BETWEEN 1 AND 128),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 256),
    lifted_at timestamptz,
    lifted_by text CHECK (length(lifted_by) BETWEEN 1 AND 128),
    lifted_because text CHECK (length(lifted_because) BETWEEN 1 AND 256),
    PRIMARY KEY (tenant_id, block_id),
    FOREIGN KEY (tenant_id, organizer_id) REFERENCES organizer,
    CONSTRAINT lifted_by_somebody_for_a_reason CHECK (
        num_nonnulls(lifted_at, lifted_by, lifted_because) IN (0, 3)
    )
);

CREATE UNIQUE INDEX organizer_block_in_force ON organizer_block (tenant_id, organizer_id)
WHERE lifted_at IS null;

CREATE TRIGGER organizer_block_audited AFTER INSERT OR UPDATE OR DELETE ON organizer_block
FOR EACH ROW EXECUTE FUNCTION audit_change();

CREATE TRIGGER organizer_block_final BEFORE UPDATE ON organizer_block
FOR EACH ROW WHEN (old.lifted_at IS NOT null) EXECUTE FUNCTION refuse_change();

CREATE TRIGGER organizer_block_kept BEFORE DELETE OR TRUNCATE ON organizer_block
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The limits that a new tenant has hold for those that there are; and calls that go on, count.

INSERT INTO call_limit (tenant_id, scope, subject, kind, most, mode)
SELECT
    t.tenant_id,
    'organizer' AS scope,
    '' AS subject,
    d.kind,
    d.most,
    d.mode
FROM tenant AS t
CROSS JOIN (
    VALUES ('concurrent_calls', 250, 'refuse'), ('callees_a_day', 250, 'observe')
) AS d (kind, most, mode);

INSERT INTO limit_now (tenant_id, organizer_id, open_calls, minute_at, minute_calls)
SELECT
    d.tenant_id,
    coalesce(d.organizer_id, '') AS organizer_id,
    count(*) AS open_calls,
    '-infinity'::timestamptz AS minute_at,
    0 AS minute_calls
FROM dial_out AS d
WHERE d.ended_at IS null AND d.expires_at IS NOT null
GROUP BY GROUPING SETS ((d.tenant_id), (d.tenant_id, d.organizer_id));

-- What they set aside goes off again when they end.

INSERT INTO limit_day (tenant_id, day, organizer_id, callees, micros)
SELECT
    d.tenant_id,
    (d.requested_at AT TIME ZONE t.time_zone)::date AS day,
    coalesce(d.organizer_id, '') AS organizer_id,
    0 AS callees,
    sum(p.micros) AS micros
FROM dial_out AS d
INNER JOIN tenant AS t ON d.tenant_id = t.tenant_id
INNER JOIN part AS p
    ON
        d.tenant_id = p.tenant_id
        AND d.dial_out_id = p.dial_out_id
        AND d.requested_at = p.filed_at
WHERE d.ended_at IS null AND d.expires_at IS NOT null
GROUP BY
    d.tenant_id,
    (d.requested_at AT TIME ZONE t.time_zone)::date,
    GROUPING SETS ((), (d.organizer_id));

INSERT INTO meeting_day (tenant_id, day, conference_id, seconds, micros)
SELECT
    d.tenant_id,
    (d.requested_at AT TIME ZONE t.time_zone)::date AS day,
    d.conference_id,
    sum(d.talk_seconds) AS seconds,
    sum(p.micros) AS micros
FROM dial_out AS d
INNER JOIN tenant AS t ON d.tenant_id = t.tenant_id
CROSS JOIN
    LATERAL (
        SELECT coalesce(sum(p.micros), 0) AS micros
        FROM part AS p
        WHERE
            p.tenant_id = d.tenant_id
            AND p.dial_out_id = d.dial_out_id
            AND p.filed_at = d.requested_at
    ) AS p
WHERE d.ended_at IS null AND d.expires_at IS NOT null
GROUP BY d.tenant_id, (d.requested_at AT TIME ZONE t.time_zone)::date, d.conference_id;

RESET search_path;

RESET ROLE;

-- migrate: rollback

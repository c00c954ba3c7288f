-- When the whole ledger was last checked and what was found; months that were taken out.
-- depends: 0006_limits

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- One row for all gateways: so only one of them checks at a time, all of them show what it
-- found, and one that starts anew begins no check that is not due.
CREATE TABLE proof (
    is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
    claimed_by uuid,
    claimed_at timestamptz,
    checked_at timestamptz,
    seconds integer CHECK (seconds >= 0),
    findings json,
    CONSTRAINT claimed_by_somebody CHECK (num_nulls(claimed_by, claimed_at) <> 1),
    CONSTRAINT checked_with_a_result CHECK (num_nulls(checked_at, seconds, findings) IN (0, 3))
);

INSERT INTO proof DEFAULT VALUES;

-- Of a month that was taken out: the digests that later months are joined to.
CREATE TABLE joint (
    tenant_id uuid NOT NULL,
    month timestamptz NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (tenant_id, month, digest),
    FOREIGN KEY (tenant_id, month) REFERENCES chain
);

CREATE TRIGGER joint_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON joint
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

RESET search_path;

RESET ROLE;

-- migrate: rollback

-- Calls that were ended because their meeting had left them behind, and what that saved.
-- depends: 0007_proof

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- What was saved is at most this: how long the call might have gone on for, and what that
-- would have cost at the rate that it was paying. It is kept apart from the dial-out, and so
-- stays when the dial-out's month is taken out.
CREATE TABLE dropped_call (
    tenant_id uuid NOT NULL REFERENCES tenant,
    dial_out_id uuid NOT NULL,
    reason text NOT NULL CHECK (reason IN ('alone', 'organizer_gone')),
    at timestamptz NOT NULL,
    saved_seconds integer NOT NULL CHECK (saved_seconds >= 0),
    saved_micros bigint NOT NULL CHECK (saved_micros >= 0),
    PRIMARY KEY (tenant_id, dial_out_id)
);

CREATE TRIGGER dropped_call_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dropped_call
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

RESET search_path;

RESET ROLE;

-- migrate: rollback

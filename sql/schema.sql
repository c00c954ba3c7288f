-- The owner of everything, the groups that logins belong to, and the schema: the gateway's,
-- which may spend what there is, and the provisioners', who say what there is.
--
-- The owner cannot log in and is no superuser, so that a function that runs with its
-- owner's rights can reach this schema and nothing else. Roles belong to the whole
-- server: another database may be migrated at this moment, hence the two exceptions.

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['dialout_owner', 'dialout_gateway', 'dialout_provisioner'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            null;
        END;
    END LOOP;
    IF NOT pg_has_role(current_user, 'dialout_owner', 'SET') THEN
        EXECUTE format('GRANT dialout_owner TO %I WITH SET TRUE', current_user);
    END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS dialout AUTHORIZATION dialout_owner;

-- Where months go that were taken out of the ledger.
CREATE SCHEMA IF NOT EXISTS dialout_archive AUTHORIZATION dialout_owner;

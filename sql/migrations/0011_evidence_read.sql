-- The calls of before are held to the constraints of 0010, while others are made.
-- depends: 0010_evidence

-- migrate: apply

SET LOCAL ROLE dialout_owner;

SET LOCAL search_path TO dialout, pg_temp;

-- In a transaction of its own: the locks that 0010 takes are gone by now, and this one lets rows
-- be read and written. A month that was taken out can be attached only if its constraints hold.

DO $$
DECLARE
    v_constraint record;
BEGIN
    FOR v_constraint IN
        SELECT c.conname AS name, c.conrelid::regclass AS relation
        FROM pg_constraint AS c
        INNER JOIN pg_class AS t ON c.conrelid = t.oid
        INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
        WHERE
            c.conname IN (
                'dial_out_unproved_check', 'funded_before_it_began', 'bounded_evidence'
            )
            AND (
                t.oid = 'dialout.dial_out'::regclass
                OR (n.nspname = 'dialout_archive' AND t.relname ~ '^dial_out_[0-9]{4}_[0-9]{2}$')
            )
        ORDER BY t.relname, c.conname
    LOOP
        EXECUTE format(
            'ALTER TABLE %s VALIDATE CONSTRAINT %I', v_constraint.relation, v_constraint.name
        );
    END LOOP;
END
$$;

RESET search_path;

RESET ROLE;

-- migrate: rollback

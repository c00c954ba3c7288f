-- A tenant to try the stack with: one organizer, 60 minutes a month into Zone A, and 25 dollars.
-- Harmless when run again. Run it as the database's owner:
--
--   docker compose exec -T postgres psql -U postgres -d dialout < deploy/docker/sample-tenant.sql

\set ON_ERROR_STOP on
\set tenant '''00000000-0000-4000-8000-000000000001'''
\set since '''2026-01-01T00:00:00Z'''

BEGIN;

SELECT deck_id
FROM
    dialout.rate_deck_put(
        'sample', 'USD',
        ARRAY['1', '44', '49'], ARRAY[20000, 30000, 35000], ARRAY[0, 0, 0],
        ARRAY[60, 60, 60], ARRAY[1, 1, 1],
        now()
    )
\gset

SELECT dialout.tenant_create(:tenant, 'Sample', 'Europe/London', 'USD', :deck_id) AS tenant;

SELECT dialout.organizer_put(:tenant, 'sam', 'Sam Sample', 'GB', 'any') AS organizer;

SELECT dialout.licence_assign(:tenant, 'sam', sku, :since, null, now()) AS licence
FROM unnest(ARRAY['audio_conferencing', 'communications_credits']) AS sku;

SELECT dialout.credits_add(:tenant, :tenant, 25000000, now()) AS credits;

COMMIT;

-- The role of the application: it may add to the audit trail and read it, never change or shorten it.
--
-- Run it as the owner of the tables, in their database, after `rotator db upgrade`; again after each upgrade. It may be
-- repeated, and needs a role that may create roles only the first time:
--
--     psql "$OWNER_URL" --file roles.sql
--     CREATE ROLE rotator_prod LOGIN PASSWORD '…' IN ROLE keyturn_app;
--
-- Then `store.url` is the URL of rotator_prod, and `store.owner` that of the owner, which `rotator db upgrade` and
-- `rotator audit prune` use and nothing else does: give it to the people who do that, not to the workers.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'keyturn_app') THEN
        CREATE ROLE keyturn_app NOLOGIN;
    END IF;
END
$$;

-- Whatever was given before, by hand or by an earlier release, is taken back first.
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM keyturn_app', current_schema());
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, keyturn_app', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO keyturn_app', current_schema());
END
$$;

-- The trail: events are added and read, and its end moves on (a trigger refuses that it goes back).
GRANT SELECT, INSERT ON event TO keyturn_app;
GRANT SELECT, UPDATE ON head TO keyturn_app;

-- Records are written by a function, with the rights of who calls it.
DO $$
BEGIN
    EXECUTE format('GRANT EXECUTE ON FUNCTION %I.keyturn_record TO keyturn_app', current_schema());
END
$$;

-- What is made once, by `rotator init` or `rotator db upgrade`.
GRANT SELECT ON alembic_version TO keyturn_app;
GRANT SELECT, UPDATE ON install TO keyturn_app;

-- Rows that stay for good.
GRANT SELECT, INSERT, UPDATE ON version, rotation, retirement, delivery, request, finding, tally TO keyturn_app;

-- Rows that go or are replaced: what is sealed, with its version; places that are forgotten; a credential without a key.
GRANT SELECT, INSERT, UPDATE, DELETE
    ON credential, configured, lease, placement, sealed, sealing_key, sighting, sampling, sample, follower, notice, account TO keyturn_app;

-- What the application's role may do: read everything, append through one function, and keep
-- what may be thrown away. It owns nothing, and can change no event.
-- Databases made before PostgreSQL 15 let everybody create functions and operators in public, which
-- could stand in for the ones that the ledger's own functions use.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollbook_app') THEN
        RETURN; -- one role for everything: the triggers still refuse any change of events
    END IF;
    GRANT SELECT ON ledger_head, events, command_ids, stream_offsets, snapshots, customer_keys
        TO tollbook_app;
    GRANT INSERT, UPDATE, DELETE ON snapshots TO tollbook_app;
    GRANT INSERT, DELETE ON customer_keys TO tollbook_app;
    GRANT EXECUTE ON FUNCTION append_events, lock_head, clock_us TO tollbook_app;
END $$;

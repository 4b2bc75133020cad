-- API keys. Only a keyed hash of each is here, under a secret that is not in the database.

CREATE TABLE api_key_state (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Moves with every change. Its row is locked until the change commits, so that whoever has
    -- seen a version has seen every change before it.
    version      bigint NOT NULL DEFAULT 0,
    -- A hash of the secret itself, which tells a wrong master key from a wrong key.
    pepper_check bytea
);
INSERT INTO api_key_state DEFAULT VALUES;

CREATE TABLE api_keys (
    id           text    PRIMARY KEY CHECK (id ~ '^[a-z2-7]{12}$'),
    role         text    NOT NULL CHECK (
        role IN ('admin', 'service', 'auditor', 'finance', 'reviewer', 'customer')),
    customer     text    CHECK ((customer IS NOT NULL) = (role = 'customer')),
    note         text    NOT NULL,
    hash         bytea   NOT NULL CHECK (length(hash) = 32),
    is_first     boolean NOT NULL DEFAULT false,   -- the one that the first start made
    created_at   bigint  NOT NULL DEFAULT clock_us(),
    expires_at   bigint,
    revoked_at   bigint,
    last_used_at bigint,                           -- by the hour
    version      bigint  NOT NULL
);
CREATE INDEX api_keys_by_version ON api_keys (version);
CREATE UNIQUE INDEX api_keys_one_first ON api_keys (is_first) WHERE is_first;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollbook_app') THEN
        GRANT SELECT, INSERT ON api_keys TO tollbook_app;
        GRANT UPDATE (revoked_at, last_used_at, version) ON api_keys TO tollbook_app;
        GRANT SELECT ON api_key_state TO tollbook_app;
        GRANT UPDATE (version, pepper_check) ON api_key_state TO tollbook_app;
    END IF;
END $$;

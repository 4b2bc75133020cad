-- What scoring has seen, and which notices were delivered. All of it follows from the log: where it
-- is lost, it is made again, and what is said twice is said under the same id.

CREATE TABLE fraud_watch (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    rule         bigint NOT NULL,   -- the version of the rules that the habits were made by
    position     bigint NOT NULL,   -- up to where the log was scored
    silent_until bigint NOT NULL    -- up to here it was scored by other rules, or by none: nothing is flagged
);
INSERT INTO fraud_watch (rule, position, silent_until) SELECT 0, 0, position FROM ledger_head;

CREATE TABLE fraud_habits (
    customer text COLLATE "C" PRIMARY KEY,
    habit    text NOT NULL          -- JSON
) WITH (fillfactor = 80);

CREATE TABLE webhook_cursors (
    name     text   PRIMARY KEY,
    position bigint NOT NULL,       -- up to where every notice was delivered
    tries    bigint NOT NULL,       -- of the next one, in vain so far
    next_at  bigint NOT NULL,       -- not before this instant
    error    text   NOT NULL        -- of the last try, empty when it went well
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollbook_app') THEN
        GRANT SELECT, UPDATE ON fraud_watch TO tollbook_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON fraud_habits, webhook_cursors TO tollbook_app;
    END IF;
END $$;

-- The ledger: one head, one append-only log, the ids that are taken for ever, and what may be
-- thrown away (snapshots). Run by the owner role; the application role only gets what it needs.

CREATE TABLE ledger_head (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position    bigint  NOT NULL,           -- of the newest event; positions are gapless from 1
    recorded_at bigint  NOT NULL,           -- of the newest event, microseconds since 1970
    clock       text    NOT NULL CHECK (clock IN ('database', 'trace'))
) WITH (fillfactor = 10);                   -- room to update in place for ever
INSERT INTO ledger_head VALUES (true, 0, 0, 'database');

-- Columns stand widest first, so that no row carries padding.
CREATE TABLE events (
    position          bigint   NOT NULL,
    customer_sequence bigint,
    occurred_at       bigint,
    recorded_at       bigint,
    stream_version    integer  NOT NULL,
    version           smallint,
    name              text     NOT NULL,
    stream            text     NOT NULL,
    customer          text,
    command           text,
    causation         text,
    correlation       text,
    actor             text,
    data              text     NOT NULL,    -- canonical JSON, hashed as it stands here
    leaf              bytea    NOT NULL,    -- RFC 6962 leaf hash (docs/formats/events.md)
    CONSTRAINT events_position PRIMARY KEY (position),
    CONSTRAINT events_stream UNIQUE (stream, stream_version),
    CONSTRAINT events_customer UNIQUE (customer, customer_sequence)
);

-- Ids stay here when old events leave the hot table.
CREATE TABLE command_ids (
    position bigint NOT NULL,
    id       text   NOT NULL,
    kind     text   NOT NULL,
    scope    text   NOT NULL,
    CONSTRAINT command_ids_taken PRIMARY KEY (id, kind, scope)
);

-- Where a stream of usage has been read up to; moves in the transaction that settled it.
CREATE TABLE stream_offsets (
    cluster     text    NOT NULL,
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (cluster, topic, partition)
);

CREATE TABLE snapshots (
    stream         text     PRIMARY KEY,
    stream_version bigint   NOT NULL,
    state_version  integer  NOT NULL,
    data           text     NOT NULL
);

-- Each customer's key for personal fields, wrapped under the master key. Destroying a row erases
-- the person; the events and their hashes stay as they are.
CREATE TABLE customer_keys (
    customer text  PRIMARY KEY,
    wrapped  bytea NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ids_are_for_ever BEFORE UPDATE OR DELETE OR TRUNCATE ON command_ids
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_are_append_only;
ALTER TABLE command_ids ENABLE ALWAYS TRIGGER ids_are_for_ever;

-- Lock the head until the end of the transaction: nobody else appends meanwhile.
CREATE FUNCTION lock_head() RETURNS ledger_head LANGUAGE sql SECURITY DEFINER
    AS $$ SELECT * FROM public.ledger_head FOR UPDATE $$;

-- The database's clock, in microseconds since 1970.
CREATE FUNCTION clock_us() RETURNS bigint LANGUAGE sql VOLATILE
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- Append a batch in one call: move the head and the offsets, insert the events, take the ids.
-- Returns 'ok', or why nothing was written: 'moved' (another writer was faster) or 'clock' (a time
-- behind the head or more than 250 ms off). Raises TB001 when an offset is not where the caller
-- thinks, TB002 when a reservation would take a customer's id, and unique_violation when an id or
-- a stream version is taken.
-- Names of tables, functions and types are qualified: a session could make a temporary table, or a
-- temporary type with a check that then ran as the owner, to stand in for an unqualified one.
-- Operators and PostgreSQL's own functions are not; 0007_search_path.sql sees to those.
CREATE FUNCTION append_events(
    expected bigint, sequences bigint[], occurred bigint[], recorded bigint[],
    stream_versions integer[], versions smallint[], names text[], streams text[],
    customers text[], commands text[], causations text[], correlations text[], actors text[],
    payloads text[], leaves bytea,
    id_positions bigint[], ids text[], kinds text[], scopes text[], riders json
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    added CONSTANT integer := cardinality(names);
    first_at CONSTANT bigint := recorded[1];
    last_at CONSTANT bigint := recorded[added];
BEGIN
    UPDATE public.ledger_head
        SET position = position + added, recorded_at = greatest(recorded_at, last_at)
        WHERE position = expected AND (added = 0 OR (recorded_at <= first_at AND (
            clock = 'trace' OR (abs(public.clock_us() - first_at) <= 250000
                            AND abs(public.clock_us() - last_at) <= 250000))));
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (SELECT FROM public.ledger_head WHERE position = expected)
            THEN 'clock' ELSE 'moved' END;
    END IF;
    IF riders IS NOT NULL AND NOT public.move_offsets(riders) THEN
        RAISE EXCEPTION 'fenced' USING ERRCODE = 'TB001';
    END IF;
    -- Usage names a reservation or a customer by the same subject, so no id may serve both. The
    -- lateral lookup keeps this one index probe per reservation, never a scan.
    IF 'reservation_held' = ANY (names) AND EXISTS (
            SELECT FROM unnest(names, streams) AS made (name, stream) CROSS JOIN LATERAL (
                SELECT FROM public.command_ids
                WHERE id = substr(made.stream, length('reservation-') + 1)
                    AND kind = 'create_customer' AND scope = id LIMIT 1) AS taken
            WHERE made.name = 'reservation_held') THEN
        RAISE EXCEPTION 'a reservation would take a customer''s id' USING ERRCODE = 'TB002';
    END IF;
    INSERT INTO public.events (position, customer_sequence, occurred_at, recorded_at,
            stream_version, version, name, stream, customer, command, causation, correlation,
            actor, data, leaf)
        SELECT expected + n, a, b, c, d, e, f, g, h, i, j, k, l, m,
            substring(leaves FROM (n * 32 - 31)::integer FOR 32)
        FROM unnest(sequences, occurred, recorded, stream_versions, versions, names, streams,
                customers, commands, causations, correlations, actors, payloads)
            WITH ORDINALITY AS row (a, b, c, d, e, f, g, h, i, j, k, l, m, n);
    INSERT INTO public.command_ids (position, id, kind, scope)
        SELECT * FROM unnest(id_positions, ids, kinds, scopes);
    RETURN 'ok';
END $$;

-- Move offsets from where the caller thinks they are; a first offset is absent and is then taken
-- from the caller.
CREATE FUNCTION move_offsets(riders json) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    rider record;
BEGIN
    FOR rider IN SELECT * FROM json_to_recordset(riders) AS row
            (cluster pg_catalog.text, topic pg_catalog.text, partition integer,
             expected bigint, next_offset bigint) LOOP
        INSERT INTO public.stream_offsets AS kept VALUES
            (rider.cluster, rider.topic, rider.partition, rider.next_offset)
            ON CONFLICT (cluster, topic, partition) DO UPDATE
            SET next_offset = excluded.next_offset WHERE kept.next_offset = rider.expected;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END $$;

REVOKE ALL ON FUNCTION append_events, lock_head, move_offsets, clock_us FROM PUBLIC;

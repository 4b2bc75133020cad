-- What was settled stays settled: an offset of the stream moves forward or not at all, whoever moves
-- it. It looks at the row as it will stay, whatever other triggers made of it.

CREATE FUNCTION refuse_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.next_offset < OLD.next_offset
            OR (NEW.cluster, NEW.topic, NEW.partition)
                IS DISTINCT FROM (OLD.cluster, OLD.topic, OLD.partition) THEN
        RAISE EXCEPTION 'moving the offset of %/% from % to % is refused: offsets only go forward',
            OLD.topic, OLD.partition, OLD.next_offset, NEW.next_offset
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER offsets_go_forward AFTER UPDATE ON stream_offsets
    FOR EACH ROW EXECUTE FUNCTION refuse_going_back();
CREATE TRIGGER offsets_are_kept BEFORE DELETE OR TRUNCATE ON stream_offsets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE stream_offsets ENABLE ALWAYS TRIGGER offsets_go_forward;
ALTER TABLE stream_offsets ENABLE ALWAYS TRIGGER offsets_are_kept;

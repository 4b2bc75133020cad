-- Where read models live, and who may do what there. Their tables are made by the program, which
-- builds a second set beside the first whenever they change (docs/decisions/projections.md).

CREATE SCHEMA views;

-- The position of the newest event recorded at or before an instant, or 0. Positions are gapless
-- and recorded_at never falls, so halving the range finds it in a handful of index probes.
CREATE FUNCTION position_at(instant bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint := 0;
    high bigint := (SELECT position FROM public.ledger_head);
    middle bigint;
BEGIN
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF (SELECT recorded_at FROM public.events WHERE position = middle) <= instant THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollbook_app') THEN
        GRANT USAGE ON SCHEMA views TO tollbook_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollbook_projector') THEN
        GRANT USAGE ON SCHEMA public TO tollbook_projector;
        GRANT USAGE, CREATE ON SCHEMA views TO tollbook_projector;
        GRANT SELECT ON ledger_head, events TO tollbook_projector;
    END IF;
END $$;

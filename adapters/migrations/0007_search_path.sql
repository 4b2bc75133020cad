-- What runs as the owner finds operators and functions among PostgreSQL's own alone: whoever may make
-- objects in some schema (a projector makes its views' tables) and may call these could put them
-- before the real ones by his own search_path. Temporary objects, which cannot be left out, come last.
-- Since append_events sets plan_cache_mode for each call, this costs it about 1 us more.

ALTER FUNCTION append_events SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION lock_head SET search_path = pg_catalog, pg_temp;

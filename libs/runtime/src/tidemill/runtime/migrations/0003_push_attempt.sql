-- How often the building of a push has begun: one that takes its workers down with it must not be tried for ever.
ALTER TABLE push ADD COLUMN attempt integer NOT NULL DEFAULT 0;

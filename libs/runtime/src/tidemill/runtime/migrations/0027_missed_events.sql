-- What a durable consumer of events has missed, because its account held more of the stream than its share. The number
-- only grows; the times are those of the first event missed and of the first one kept after the last.
ALTER TABLE event_consumer ADD COLUMN missed bigint NOT NULL DEFAULT 0;
ALTER TABLE event_consumer ADD COLUMN missed_since timestamptz;
ALTER TABLE event_consumer ADD COLUMN missed_until timestamptz;

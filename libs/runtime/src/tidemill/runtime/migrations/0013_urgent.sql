-- Predictions with a priority that nobody has claimed yet, so that a worker finds the most urgent of an account without
-- reading its other rows. A hint on the bus is a turn of its account: who takes an urgent prediction at another's hint
-- writes here what runs at its own hint instead (ADR 6). Ordinary predictions have no row here.
CREATE TABLE urgent (
    id         text PRIMARY KEY,                   -- the prediction's
    queue      text NOT NULL,
    account_id text NOT NULL,
    priority   smallint NOT NULL,                  -- 0 once it is claimed: the row stays for `runs`
    runs       text                                -- the prediction that runs at this one's hint; null: itself
);
CREATE INDEX urgent_next ON urgent (queue, account_id, priority DESC, id);
CREATE INDEX urgent_displaced ON urgent (queue, account_id, runs) WHERE runs IS NOT NULL;
CREATE UNIQUE INDEX urgent_runs ON urgent (runs) WHERE runs IS NOT NULL;

CREATE FUNCTION note_urgent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO urgent (id, queue, account_id, priority) VALUES (NEW.id, NEW.queue, NEW.account_id, NEW.priority)
    ON CONFLICT (id) DO UPDATE SET priority = excluded.priority;
    RETURN NULL;
END $$;
-- The conditions are looked at before anything is queued, so that rows without a priority cost next to nothing.
CREATE TRIGGER prediction_urgent AFTER INSERT ON prediction
    FOR EACH ROW WHEN (NEW.priority > 0) EXECUTE FUNCTION note_urgent();
CREATE TRIGGER prediction_urgent_again AFTER UPDATE OF attempt ON prediction
    FOR EACH ROW WHEN (NEW.priority > 0 AND NEW.attempt > OLD.attempt) EXECUTE FUNCTION note_urgent();

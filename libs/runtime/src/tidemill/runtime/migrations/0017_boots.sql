-- What became of the last boots of each version, with what its set-up printed: for the model's owner. The worker keeps
-- as many of them as it says; a version takes its own along.
CREATE TABLE boot (
    instance      text PRIMARY KEY,
    version_queue text NOT NULL REFERENCES version (queue) ON DELETE CASCADE,
    began_at      timestamptz NOT NULL,
    ready_at      timestamptz,   -- null: it failed
    error         text,          -- why the boot failed, or what ended the instance later
    phases        json,          -- seconds by name
    logs          text NOT NULL
);
CREATE INDEX boot_version ON boot (version_queue, began_at DESC);

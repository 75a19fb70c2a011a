-- Deployments: a version under a name, with hardware and instances of its own.
CREATE TABLE deployment (
    id         text PRIMARY KEY,
    account_id text NOT NULL REFERENCES account (id),
    owner      text NOT NULL,                                   -- the account's username
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),  -- the scheduler reads what has changed
    deleted_at timestamptz                                      -- its queues stay known to its predictions
);
CREATE UNIQUE INDEX deployment_name ON deployment (owner, name) WHERE deleted_at IS NULL;
CREATE INDEX deployment_account ON deployment (account_id, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX deployment_changed ON deployment (changed_at);

-- A release is a queue with instances of its own. A change of the number of instances alone keeps the row, and so its
-- instances: only number and created_at move. Of each deployment one release is current: the one not retired.
CREATE TABLE release (
    queue         text PRIMARY KEY,
    deployment_id text NOT NULL REFERENCES deployment (id),
    number        integer NOT NULL,
    version_queue text NOT NULL REFERENCES version (queue) ON DELETE CASCADE,  -- of those in use no version is deleted
    streams       boolean NOT NULL,                             -- the version's
    hardware      text NOT NULL,
    min_instances integer NOT NULL CHECK (min_instances BETWEEN 0 AND max_instances),
    max_instances integer NOT NULL CHECK (max_instances BETWEEN 0 AND 20),
    created_at    timestamptz NOT NULL DEFAULT now(),
    retired_at    timestamptz                                   -- another has taken over, or the deployment is deleted
);
CREATE UNIQUE INDEX release_current ON release (deployment_id) WHERE retired_at IS NULL;
CREATE INDEX release_deployment ON release (deployment_id, number DESC);
CREATE INDEX release_version ON release (version_queue);

-- Trainings of a version wait in a queue of their own: its instances run train().
CREATE TABLE training_queue (
    queue         text PRIMARY KEY,
    version_queue text NOT NULL UNIQUE REFERENCES version (queue) ON DELETE CASCADE
);

-- What every queue runs: the one place that resolves a queue to its version. Three bare tables, so that joins by queue
-- go through their primary keys.
CREATE VIEW queue_version AS
SELECT queue, queue AS version_queue, streams, 'prediction'::text AS kind FROM version
UNION ALL
SELECT queue, version_queue, streams, 'prediction'::text FROM release
UNION ALL
SELECT queue, version_queue, false, 'training'::text FROM training_queue;

-- Neither column ever changes, so updates of running predictions stay heap-only; other predictions pay nothing.
CREATE INDEX prediction_deployment ON prediction (deployment, id DESC) WHERE deployment IS NOT NULL;
CREATE INDEX prediction_training ON prediction (account_id, id DESC) WHERE kind = 'training';

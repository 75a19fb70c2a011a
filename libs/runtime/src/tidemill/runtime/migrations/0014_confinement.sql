-- What a model's code may have and must not reach: secrets of its owner's, the operator's trust, what workers enforce.
CREATE TABLE model_secret (
    model_id   text NOT NULL REFERENCES model (id) ON DELETE CASCADE,
    name       text NOT NULL,                      -- of the environment variable
    sealed     bytea NOT NULL,                     -- AES-GCM under a key derived from the signing key
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, name)
);

-- The operator vouches for its code: it runs also where layers of the sandbox are missing.
ALTER TABLE model ADD COLUMN trusted boolean NOT NULL DEFAULT false;

-- What a worker tells operators of itself, every few seconds while it lives.
ALTER TABLE worker
    ADD COLUMN report      json,
    ADD COLUMN reported_at timestamptz;

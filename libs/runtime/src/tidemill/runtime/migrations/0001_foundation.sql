-- The record of Tidemill. Forward only; what is written here is never edited after a release.

CREATE TABLE account (
    id             text PRIMARY KEY,
    username       text NOT NULL UNIQUE,
    name           text NOT NULL,
    type           text NOT NULL DEFAULT 'user' CHECK (type IN ('user', 'organization')),
    webhook_secret text NOT NULL,
    unlimited      boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE token (
    id         text PRIMARY KEY,
    account_id text NOT NULL REFERENCES account (id),
    name       text NOT NULL,
    digest     bytea NOT NULL UNIQUE,          -- sha256 of the token; the token itself is shown once and kept nowhere
    last4      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE model (
    id              text PRIMARY KEY,
    account_id      text NOT NULL REFERENCES account (id),
    owner           text NOT NULL,             -- the account's username
    name            text NOT NULL,
    visibility      text NOT NULL CHECK (visibility IN ('public', 'private')),
    hardware        text NOT NULL,
    description     text,
    github_url      text,
    paper_url       text,
    license_url     text,
    weights_url     text,
    cover_image_url text,
    latest_queue    text,                      -- the newest version's queue
    run_count       bigint NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, name)
);

-- A blob's bytes lie in the object store once; an account may refer only to those it has uploaded itself, so that
-- knowing a digest is no way to read somebody else's file.
CREATE TABLE blob (
    account_id text NOT NULL REFERENCES account (id),
    digest     text NOT NULL,                  -- sha256, hex
    size       bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, digest)
);

-- The same files are the same id everywhere, also under two models; `queue` names one row, and its instances.
CREATE TABLE version (
    queue          text PRIMARY KEY,
    id             text NOT NULL,              -- sha256 of the file index, hex
    model_id       text NOT NULL REFERENCES model (id),
    cog_version    text NOT NULL,
    openapi_schema json NOT NULL,
    files          json NOT NULL,              -- [{path, sha256, size, executable}]
    config         json NOT NULL,              -- cog.yaml as checked at push
    streams        boolean NOT NULL,           -- its output is an iterator
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (model_id, id)
);
CREATE INDEX version_id ON version (id);

CREATE TABLE push (
    id           text PRIMARY KEY,
    account_id   text NOT NULL REFERENCES account (id),
    model_id     text NOT NULL REFERENCES model (id),
    status       text NOT NULL CHECK (status IN ('uploading', 'queued', 'building', 'succeeded', 'failed')),
    files        json NOT NULL,
    worker       text,
    version      text,
    error        text,
    warnings     text[] NOT NULL DEFAULT '{}',
    logs         text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
);
CREATE INDEX push_open ON push (created_at) WHERE status IN ('uploading', 'queued', 'building');

-- One row per worker process. A lease that has run out is lost for good: the process takes a new id.
CREATE TABLE worker (
    id          text PRIMARY KEY,
    host        text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL
);

-- No index on a column that changes while a prediction runs, so that updates stay heap-only; the sweep finds open
-- rows by reading each stretch of accepted_at once (BRIN: the rows lie in that order).
CREATE TABLE prediction (
    id                    text PRIMARY KEY,
    account_id            text NOT NULL,
    model                 text NOT NULL,       -- owner/name
    version               text NOT NULL,
    queue                 text NOT NULL,
    status                text NOT NULL DEFAULT 'starting',
    attempt               integer NOT NULL DEFAULT 1,
    worker                text,
    gateway               text NOT NULL,
    source                text NOT NULL DEFAULT 'api',
    input                 json NOT NULL,
    output                json,
    logs                  text,
    error                 text,
    error_code            text,
    metrics               json,
    webhook               text,
    webhook_events        text[],
    data_removed          boolean NOT NULL DEFAULT false,
    deadline              timestamptz,
    created_at            timestamptz NOT NULL,
    started_at            timestamptz,
    completed_at          timestamptz,
    accepted_at           timestamptz NOT NULL DEFAULT clock_timestamp()  -- the database's clock; gateways' clocks differ
) WITH (fillfactor = 70);
CREATE INDEX prediction_account ON prediction (account_id, id DESC);
CREATE INDEX prediction_accepted ON prediction USING brin (accepted_at) WITH (pages_per_range = 16, autosummarize = on);

CREATE TABLE example (
    model_id      text PRIMARY KEY REFERENCES model (id),
    prediction_id text NOT NULL REFERENCES prediction (id)
);

-- Terminal webhooks, written in the transaction that ends the prediction.
CREATE TABLE webhook_delivery (
    id              text PRIMARY KEY,          -- the webhook-id header
    prediction_id   text NOT NULL,
    account_id      text NOT NULL,
    url             text NOT NULL,
    event           text NOT NULL DEFAULT 'completed',
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    tries           integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    leased_until    timestamptz,
    body            text,                      -- fixed at the first try, so that retries send the same bytes
    last_status     integer,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz
);
CREATE INDEX webhook_due ON webhook_delivery (next_attempt_at) WHERE status = 'pending';
CREATE INDEX webhook_prediction ON webhook_delivery (prediction_id);

CREATE TABLE file (
    id           text PRIMARY KEY,
    account_id   text NOT NULL REFERENCES account (id),
    name         text NOT NULL,
    content_type text NOT NULL,
    size         bigint NOT NULL,
    md5          text NOT NULL,
    sha256       text NOT NULL,
    metadata     json NOT NULL,
    object_key   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX file_account ON file (account_id, id DESC);
CREATE INDEX file_expiry ON file (expires_at);

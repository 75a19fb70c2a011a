-- Webhooks: what became of each try, endpoints that fail, and secrets that are being replaced.

-- Host and port of a URL, and its path without the query; two paths of a host are one receiver.
CREATE FUNCTION webhook_host(url text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower(split_part(split_part(split_part(url, '#', 1), '?', 1), '/', 3));
CREATE FUNCTION webhook_path(url text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN COALESCE(substring(split_part(split_part(url, '#', 1), '?', 1) FROM '^[^/]*//[^/]*(/.*)$'), '/');

ALTER TABLE webhook_delivery
    DROP CONSTRAINT webhook_delivery_status_check,
    ADD CONSTRAINT webhook_delivery_status_check CHECK (status IN ('pending', 'delivered', 'failed', 'skipped')),
    ADD COLUMN host       text GENERATED ALWAYS AS (webhook_host(url)) STORED,
    ADD COLUMN path       text GENERATED ALWAYS AS (webhook_path(url)) STORED,
    ADD COLUMN log        jsonb NOT NULL DEFAULT '[]',   -- one object for each try
    ADD COLUMN redelivery boolean NOT NULL DEFAULT false; -- its owner asked for one more try
CREATE INDEX webhook_account ON webhook_delivery (account_id, id DESC);
CREATE INDEX webhook_waiting ON webhook_delivery (account_id, host) WHERE status = 'pending';

-- An endpoint is an account's host and port (path ''); a path that answered "gone" has a row of its own.
CREATE TABLE webhook_endpoint (
    id              text PRIMARY KEY,
    account_id      text NOT NULL,
    host            text NOT NULL,
    path            text NOT NULL DEFAULT '',
    failures        integer NOT NULL DEFAULT 0,  -- in a row
    failing_since   timestamptz,
    openings        integer NOT NULL DEFAULT 0,  -- of the breaker, in a row
    open_until      timestamptz,                 -- nothing is tried before; then one delivery probes
    disabled_at     timestamptz,                 -- nothing is tried until its owner enables it
    disabled_reason text,
    succeeded_at    timestamptz,                 -- about: to the minute
    failed_at       timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, host, path)
);
CREATE INDEX webhook_endpoint_account ON webhook_endpoint (account_id, id DESC);
CREATE INDEX webhook_endpoint_shut ON webhook_endpoint (account_id, host)
    WHERE open_until IS NOT NULL OR disabled_at IS NOT NULL;

-- Secrets that were replaced go on signing for a while, beside the account's own.
CREATE TABLE webhook_secret_before (
    account_id  text NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    secret      text NOT NULL,
    signs_until timestamptz NOT NULL,
    PRIMARY KEY (account_id, secret)
);

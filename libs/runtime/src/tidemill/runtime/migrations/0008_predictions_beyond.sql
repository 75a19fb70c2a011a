-- Predictions that are deleted, and creates that happen once however often they are sent.
ALTER TABLE prediction
    ADD COLUMN deleted_at timestamptz;   -- its data is gone and it cannot be seen; metrics and cost stay for the bills
ALTER TABLE account
    ADD COLUMN IF NOT EXISTS retention_s integer;  -- seconds after completion; null: the service's own time

-- What a key, or a client's blind retry, has made. Written in the statement that accepts the predictions.
CREATE TABLE idempotency (
    account_id  text NOT NULL,
    key         text NOT NULL,           -- with a prefix that says what made it
    id          text NOT NULL,           -- of this claim: tells the request that won from the one that lost
    digest      bytea NOT NULL,          -- sha256 of the request
    predictions text[] NOT NULL,         -- in the order of the request; of a batch, null for what was refused
    problems    json,                    -- of a batch: an item is null, or the problem that refused it
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

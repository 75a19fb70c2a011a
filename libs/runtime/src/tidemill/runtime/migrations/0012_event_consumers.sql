-- Durable consumers of events that outside subscribers have asked for. The row is the truth: NATS is told again whenever
-- it has forgotten.
CREATE TABLE event_consumer (
    id         text PRIMARY KEY,                                -- a part of its name at NATS, which nobody must guess
    account_id text NOT NULL REFERENCES account (id),
    name       text NOT NULL,
    kinds      text[] NOT NULL CHECK (kinds <@ '{prediction,training}' AND cardinality(kinds) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),              -- it gets what has happened since
    UNIQUE (account_id, name)
);

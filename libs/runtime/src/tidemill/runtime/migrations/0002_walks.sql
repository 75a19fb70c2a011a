-- How far a service has read the predictions in the order of accepted_at, so that each stretch is read once.
CREATE TABLE walk (
    name    text PRIMARY KEY,
    reached timestamptz NOT NULL
);

-- Predictions that the janitor's walk has passed before their data was due to go: those that ran or waited long.
CREATE TABLE removal_due_later (
    prediction_id text PRIMARY KEY
);

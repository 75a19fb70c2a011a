-- What an account may do that differs from the gateways' own settings; null: as they say.
ALTER TABLE account
    ADD COLUMN creates_per_minute  integer CHECK (creates_per_minute BETWEEN 1 AND 1000000),
    ADD COLUMN creates_burst       integer CHECK (creates_burst BETWEEN 1 AND 1000000),
    ADD COLUMN requests_per_minute integer CHECK (requests_per_minute BETWEEN 1 AND 1000000),
    ADD COLUMN requests_burst      integer CHECK (requests_burst BETWEEN 1 AND 1000000),
    ADD COLUMN open_predictions    integer CHECK (open_predictions BETWEEN 0 AND 1000000);

-- When an account's whole burst will be there again, counting all gateways. Unlogged: after a crash of the database
-- every burst is whole, which is no harm, and the many small writes cost no log. No index on what changes.
CREATE UNLOGGED TABLE allowance (
    account_id text NOT NULL,
    kind       text NOT NULL,              -- creates, requests
    full_at    timestamptz NOT NULL,
    PRIMARY KEY (account_id, kind)
) WITH (fillfactor = 50);

-- How long a run of the account's may take; null: as long as the workers' own setting. It can only be shorter.
ALTER TABLE account ADD COLUMN time_limit_s integer CHECK (time_limit_s BETWEEN 1 AND 86400);
CREATE INDEX account_time_limit ON account (id) WHERE time_limit_s IS NOT NULL;

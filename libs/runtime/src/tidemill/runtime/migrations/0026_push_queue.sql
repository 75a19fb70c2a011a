-- Pushes are built fairly over accounts: who was served last waits longer.
ALTER TABLE push ADD COLUMN claimed_at timestamptz;  -- when a worker last began to build it
CREATE INDEX push_account ON push (account_id, claimed_at);

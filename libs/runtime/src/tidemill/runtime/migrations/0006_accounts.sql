-- What an account says of itself, and how long its predictions' data is kept.
ALTER TABLE account
    ADD COLUMN github_url  text,
    ADD COLUMN avatar_url  text,
    ADD COLUMN deleted_at  timestamptz;              -- of an organisation; its row and its name stay taken
ALTER TABLE account
    ADD COLUMN IF NOT EXISTS retention_s integer;    -- seconds after completion; null: the service's own time

-- Users in organisations, and what a token may do.
CREATE TABLE member (
    organization_id text NOT NULL REFERENCES account (id),
    user_id         text NOT NULL REFERENCES account (id),
    role            text NOT NULL CHECK (role IN ('owner', 'member', 'viewer')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX member_user ON member (user_id);

ALTER TABLE token
    ADD COLUMN user_id      text REFERENCES account (id),  -- who made it; null: the operator, with an owner's rights
    ADD COLUMN scopes       text[] NOT NULL DEFAULT '{*}',
    ADD COLUMN expires_at   timestamptz,
    ADD COLUMN last_used_at timestamptz;
CREATE INDEX token_account ON token (account_id);

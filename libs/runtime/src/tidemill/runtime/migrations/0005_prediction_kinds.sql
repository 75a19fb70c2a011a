-- What predictions know beyond their own run. A training is a prediction of another kind: same life, same fences.
ALTER TABLE prediction
    ADD COLUMN kind        text NOT NULL DEFAULT 'prediction' CHECK (kind IN ('prediction', 'training')),
    ADD COLUMN deployment  text,                          -- owner/name, when it was created through one
    ADD COLUMN destination text,                          -- owner/name, where a training's version goes
    ADD COLUMN priority    smallint NOT NULL DEFAULT 0,   -- within its account; higher goes first
    ADD COLUMN shared_at   timestamptz,                   -- its page is public since then
    ADD COLUMN boot        json;                          -- seconds by phase, when it waited for an instance to boot

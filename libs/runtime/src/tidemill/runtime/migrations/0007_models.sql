-- Models as people find them: README, search, examples, collections; and versions on their way out.
ALTER TABLE account ADD COLUMN official boolean NOT NULL DEFAULT false;  -- the operator vouches for its models

ALTER TABLE model
    ADD COLUMN readme       text,
    ADD COLUMN published_at timestamptz;           -- when it first was public: since then others may have run it
UPDATE model SET published_at = created_at WHERE visibility = 'public';

-- Words of names count whatever joins them; the simple configuration stems nothing, so that a prefix finds its words.
-- Of a long README the beginning is enough, and a tsvector has a limit of 1 MB.
ALTER TABLE model ADD COLUMN search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('simple', translate(owner || ' ' || name, '._-/', '    ')), 'A')
    || setweight(to_tsvector('simple', COALESCE(description, '')), 'B')
    || setweight(to_tsvector('english', COALESCE(description, '')), 'B')
    || setweight(to_tsvector('english', left(COALESCE(readme, ''), 50000)), 'D')) STORED;
CREATE INDEX model_search ON model USING gin (search);
CREATE INDEX model_account ON model (account_id);

-- Several examples for a model; a prediction is an example of its own model alone.
ALTER TABLE example
    DROP CONSTRAINT example_pkey,
    ADD PRIMARY KEY (prediction_id),
    ADD COLUMN added_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE INDEX example_model ON example (model_id, added_at);
-- The one shown with the model; without a choice the first.
ALTER TABLE model ADD COLUMN default_example text REFERENCES example (prediction_id) ON DELETE SET NULL;

CREATE TABLE collection (
    slug             text PRIMARY KEY,
    name             text NOT NULL,
    description      text NOT NULL,
    full_description text,                         -- Markdown
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE collection_model (
    slug     text NOT NULL REFERENCES collection (slug) ON DELETE CASCADE,
    position integer NOT NULL,
    model_id text NOT NULL REFERENCES model (id) ON DELETE CASCADE,
    PRIMARY KEY (slug, model_id)
);
CREATE INDEX collection_model_model ON collection_model (model_id);

-- A deleted version's row is gone at once, so that nothing runs or lists it; what it leaves behind is the janitor's,
-- which deletes its row here when nothing is left.
CREATE TABLE removed_version (
    queue      text PRIMARY KEY,
    id         text NOT NULL,
    model      text NOT NULL,                      -- owner/name
    account_id text NOT NULL,                      -- the model's owner, whose predictions of it go too
    created_at timestamptz NOT NULL,               -- the version's: no prediction of it is older
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

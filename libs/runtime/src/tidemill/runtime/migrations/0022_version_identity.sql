-- A version's id names one version of one model: sha256 over the model's id and the digest of its files. Clients send the
-- bare id, and two models with the same files differ in owner, hardware and secrets. Versions that exist keep their id,
-- which is the digest of their files; several models may share one.
ALTER TABLE version ADD COLUMN digest text;  -- sha256 of the file index, hex; null: the id is it
CREATE UNIQUE INDEX version_identity ON version (id) WHERE digest IS NOT NULL;

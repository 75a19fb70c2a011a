-- What all services of one installation were told alike, as the first of them had it.
CREATE TABLE agreed_setting (
    name   text PRIMARY KEY,
    value  text NOT NULL,                     -- of a key its fingerprint
    is_key boolean NOT NULL,
    set_by text NOT NULL,                     -- the service
    set_at timestamptz NOT NULL DEFAULT now()
);

-- What the services listen on: addresses that no user's URL and no model may reach, whatever the operator lists.
CREATE TABLE listener (
    service text NOT NULL,
    address text NOT NULL,
    port integer NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (service, address, port)
);

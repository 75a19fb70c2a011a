"""The environment of the servers: the user's, without the variables that would change how they behave."""

import os

# PG*: libpq reads them. AWS_*: weed takes its credentials from them, so only ours may be set.
# GOMEMLIMIT: below 400 MiB the object store collects garbage all the time.
_DROPPED_PREFIXES = ("PG", "AWS_", "TIDEMILL_", "GOMEMLIMIT", "WEED_", "NATS_", "LC_", "LANG")


def for_server(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED_PREFIXES)}
    return {**kept, "LC_ALL": "C.UTF-8", **extra}

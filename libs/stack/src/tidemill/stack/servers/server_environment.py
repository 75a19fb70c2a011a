"""The environment that the servers get: the user's own, less what would change how they behave."""

import os

# PG*: libpq would read them. AWS_*: weed takes its credentials from them, so ours must be the only ones.
# GOMEMLIMIT: a limit under 400 MiB keeps the object store collecting garbage without end.
_DROPPED_PREFIXES = ("PG", "AWS_", "TIDEMILL_", "GOMEMLIMIT", "WEED_", "NATS_", "LC_", "LANG")


def for_server(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED_PREFIXES)}
    return {**kept, "LC_ALL": "C.UTF-8", **extra}

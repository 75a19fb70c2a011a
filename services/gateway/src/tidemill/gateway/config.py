"""What the gateway can be told."""

from typing import Literal

from tidemill.runtime.config import ObjectStore


class Config(ObjectStore, frozen=True, kw_only=True):
    port: int = 8300
    # How file outputs reach clients: URLs, data URIs, or "auto": data URIs for the official SDKs when public_url is
    # plain http, because they make a FileOutput only of https: and data: values.
    file_output: Literal["auto", "url", "data"] = "auto"
    cors_origins: str = ""  # comma-separated; "*" for any; empty for none
    token_cache_s: float = 5.0  # how long a revoked token may still be taken
    accept_timeout_s: float = 5.0  # how long a create may wait for a database that is away
    wait_poll_s: float = 1.0  # how often a waiting request looks at its row in case an event was lost
    version_cache_s: float = 5.0  # how long a version that has become invisible may still be run

"""What the gateway can be told."""

from typing import Literal

from tidemill.contracts.limits import (
    ANONYMOUS_PER_MINUTE,
    CREATES_PER_MINUTE,
    EVENT_CONNECTIONS,
    OPEN_PREDICTIONS,
    REQUESTS_PER_MINUTE,
    SIGNED_PER_MINUTE,
)
from tidemill.runtime.config import ObjectStore


class Config(ObjectStore, frozen=True, kw_only=True):
    port: int = 8300
    listen_fd: int | None = None  # a listening socket that is inherited, in place of host and port
    listen_on_s: float = 0.0  # how long connections are still accepted after SIGTERM, for load balancers
    # How file outputs reach clients: URLs, data URIs, or "auto": data URIs for the official SDKs when the
    # request came by plain http, because they make a FileOutput only of https: and data: values.
    file_output: Literal["auto", "url", "data"] = "auto"
    cors_origins: str = ""  # comma-separated; "*" for any; empty for none
    nats_callout_seed: str = ""  # an account key (SA…) of NATS; without it outsiders cannot connect to NATS
    nats_public_url: str = ""  # NATS as outside subscribers reach it
    event_connections: int = EVENT_CONNECTIONS  # of outside subscribers, by account, over all gateways
    event_check_s: float = 15.0  # how often their connections are held against their tokens
    token_cache_s: float = 5.0  # how long a revoked token may still be taken
    accept_timeout_s: float = 5.0  # how long a create may wait for a database that is away
    wait_poll_s: float = 1.0  # how often a waiting request looks at its row in case an event was lost
    # By account, unless its row says otherwise; a minute's worth may come at once.
    creates_per_minute: int = CREATES_PER_MINUTE
    requests_per_minute: int = REQUESTS_PER_MINUTE
    open_predictions: int = OPEN_PREDICTIONS
    waiting_pushes: int = 10  # by account: a team's morning, and no worker's day
    # By address, of requests that need no token; 0 for no limit.
    anonymous_per_minute: int = ANONYMOUS_PER_MINUTE
    signed_per_minute: int = SIGNED_PER_MINUTE
    # A queue whose oldest prediction waits for longer, or in which more wait, takes no more: what comes now would not
    # be served while anybody waits for it.
    queue_age_limit_s: float = 600.0
    queue_waiting_limit: int = 20_000
    trusted_proxies: str = ""  # comma-separated addresses and networks whose X-Forwarded-* headers are believed
    version_cache_s: float = 5.0  # how long a version that has become invisible, or an old release, may still be run
    deployment_rest_s: float = (
        900.0  # how long a deployment must have been unused to be deleted; Replicate's 15 minutes
    )

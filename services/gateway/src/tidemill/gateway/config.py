"""The settings of the gateway."""

from typing import Literal

from tidemill.contracts.limits import (
    ANONYMOUS_PER_MINUTE,
    CREATES_PER_MINUTE,
    EVENT_CONNECTIONS,
    OPEN_PREDICTIONS,
    REQUESTS_PER_MINUTE,
    SIGNED_PER_MINUTE,
)
from tidemill.runtime.config import ObjectStoreConfig


class Config(ObjectStoreConfig, frozen=True, kw_only=True):
    port: int = 8300
    listen_fd: int | None = None  # an inherited listening socket, instead of host and port
    listen_on_s: float = 0.0  # how long connections are still accepted after SIGTERM, for load balancers
    # How clients get file outputs: "url", "data" (data URIs), or "auto": data URIs for the official SDKs if the request
    # came by plain http, because they make a FileOutput only of https: and data: values.
    file_output: Literal["auto", "url", "data"] = "auto"
    cors_origins: str = ""  # comma-separated; "*" for any; empty for none
    nats_callout_seed: str = ""  # an account key (SA…) of NATS; without it external subscribers cannot connect to NATS
    nats_public_url: str = ""  # the URL of NATS for external subscribers
    event_connections: int = EVENT_CONNECTIONS  # of external subscribers, per account, over all gateways
    event_check_s: float = 15.0  # how often their connections are checked against their tokens
    token_cache_s: float = 5.0  # how long a revoked token may still be accepted
    accept_timeout_s: float = 5.0  # how long a create may wait while the database is down
    wait_poll_s: float = 1.0  # how often a waiting request polls its row, in case an event was lost
    # Defaults per account; its row may override them. The burst is one minute's worth.
    creates_per_minute: int = CREATES_PER_MINUTE
    requests_per_minute: int = REQUESTS_PER_MINUTE
    open_predictions: int = OPEN_PREDICTIONS
    waiting_pushes: int = 10  # per account: enough for a team, and not too much work for one worker
    # Requests without a token, per address; 0 for no limit.
    anonymous_per_minute: int = ANONYMOUS_PER_MINUTE
    signed_per_minute: int = SIGNED_PER_MINUTE
    # A queue accepts no more predictions when its oldest one has waited longer, or when more wait: a new one would not
    # run while its client still waits.
    queue_age_limit_s: float = 600.0
    queue_waiting_limit: int = 20_000
    trusted_proxies: str = ""  # comma-separated addresses and networks whose X-Forwarded-* headers are trusted
    version_cache_s: float = 5.0  # how long a version that is hidden now, or an old release, may still be run
    deployment_rest_s: float = (
        900.0  # how long a deployment must have been unused to be deleted; Replicate's 15 minutes
    )

"""Settings of the webhook dispatcher. Times are in seconds."""

from tidemill.runtime.config import Common, SigningKey
from tidemill.security.public_urls import DEFAULT_URL


class Config(Common, frozen=True, kw_only=True):
    public_urls: str = DEFAULT_URL  # comma-separated; the bases of the URLs in a body
    signing_key: SigningKey  # 64 hexadecimal characters; signs stream URLs
    s3_url: str = ""  # of the object store; webhooks to it are refused
    egress_allow: str = ""  # hosts and networks that webhooks may reach besides the public internet
    timeout_s: float = 15.0  # of one try; receivers are asked to answer within a few seconds
    look_every_s: float = 1.0  # interval of the poll for due rows, in addition to wake-ups
    retry_scale: float = 1.0  # multiplies the retry schedule and the breaker's times; for tests
    endpoint_tries: int = 4  # concurrent tries at one endpoint: a host and port of one account
    account_tries: int = 32  # concurrent tries of one account, over all its endpoints
    tries: int = 256  # concurrent tries in total
    progress_timeout_s: float = 5.0  # of a progress event; the `completed` event of the prediction waits for it
    throttle_s: float = 0.5  # between output and logs events of one prediction
    disable_after_s: float = 5 * 86_400.0  # an endpoint without a success for this long is disabled
    log_kept_s: float = 7 * 86_400.0  # how long finished deliveries can be looked up
    upkeep_every_s: float = 600.0  # interval of removing deliveries older than log_kept_s

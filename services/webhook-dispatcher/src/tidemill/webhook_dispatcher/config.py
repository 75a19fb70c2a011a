"""What the webhook dispatcher can be told."""

from tidemill.runtime.config import Common, SigningKey
from tidemill.security.public_urls import DEFAULT_URL


class Config(Common, frozen=True, kw_only=True):
    public_urls: str = DEFAULT_URL  # comma-separated; the bases of the URLs in a body
    signing_key: SigningKey  # 64 hexadecimal characters; signs stream URLs
    s3_url: str = ""  # of the object store: no webhook goes there
    egress_allow: str = ""  # hosts and networks that webhooks may reach besides the public internet
    timeout_s: float = 15.0  # of one try; receivers are asked to answer within a few seconds
    look_every_s: float = 1.0  # for due rows, besides the wake-ups
    retry_scale: float = 1.0  # multiplies the retry schedule and the breaker's times; for tests
    endpoint_tries: int = 4  # tries under way at one endpoint: an account's host and port
    account_tries: int = 32  # tries under way for one account, however many endpoints it has
    tries: int = 256  # tries under way altogether
    progress_timeout_s: float = 5.0  # of a progress event; the end of its prediction waits for it
    throttle_s: float = 0.5  # between output and logs events of one prediction
    disable_after_s: float = 5 * 86_400.0  # an endpoint that has only failed for so long is not tried any more
    log_kept_s: float = 7 * 86_400.0  # how long finished deliveries can be looked up
    upkeep_every_s: float = 600.0  # for deliveries past log_kept_s

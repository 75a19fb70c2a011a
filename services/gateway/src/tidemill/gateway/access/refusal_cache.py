"""Recent refusals (429) by request, so that a repeated request is refused again without being parsed. Pure.

A rate limit says until when it certainly refuses an account. Until then the same request with the same token gets the
same response, and a client that keeps repeating it gets the response late.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from tidemill.gateway.limits import gcra
from tidemill.gateway.limits.gcra import Rate

CERTAIN_S: Final = 1.0  # at most, so that a limit that an operator raises takes effect soon
PROMPT: Final = Rate(per_minute=600, burst=50)  # refusals of one request that are sent at once: clients do repeat some
DELAY_S: Final = 1.0  # how late the others are sent; no Retry-After is shorter
KEPT_S: Final = 30.0
LIMIT: Final = 10_000  # bounds memory under a flood of made-up paths
DELAYED_LIMIT: Final = 10_000  # connections of all accounts that wait for a late response; more are closed


class CachedRefusal(msgspec.Struct):
    until: float  # the rate limit refuses for certain until then
    head: bytes  # status line and headers, without the empty line
    body: bytes
    count: Callable[[], None]  # counts one more refusal in the metrics
    prompt_at: float = 0.0  # `full_at` of PROMPT, as in gcra
    probe_s: float = 0.0  # within this no second request becomes admissible
    probed_until: float = 0.0  # a request went through a moment ago; the next one may not until then


class DelayedRefusal(NamedTuple):
    refusal: CachedRefusal
    delay_s: float


class RefusalCache:
    """The refusals of one gateway, by `request_key`. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.entries: dict[bytes, CachedRefusal] = {}
        self._stopped = False

    def stop(self) -> None:
        """Refuse nothing from the cache any more."""
        self._stopped, self.entries = True, {}

    def store(self, key: bytes, refusal: CachedRefusal, now: float) -> None:
        if self._stopped:
            return
        known = self.entries.get(key)
        if known is not None:
            refusal.prompt_at = known.prompt_at
        elif len(self.entries) >= LIMIT:
            self.entries.clear()
        refusal.until = min(refusal.until, now + CERTAIN_S)
        refusal.probe_s = (refusal.until - now) / 2
        self.entries[key] = refusal

    def find(self, key: bytes, now: float) -> DelayedRefusal | None:
        """Return the refusal of a request that would certainly be refused. None: the request must be handled.

        When the certain time is over, one request per `probe_s` goes through: hundreds of clients may wait for it.
        """
        known = self.entries.get(key)
        if known is None:
            return None
        known.prompt_at, verdict = gcra.take(known.prompt_at, now, PROMPT)
        if now >= known.until and (verdict.admitted or now >= known.probed_until):
            known.probed_until = now + known.probe_s
            return None
        return DelayedRefusal(known, 0.0 if verdict.admitted else DELAY_S)

    def expire(self, now: float) -> None:
        """Remove refusals that ended KEPT_S ago."""
        self.entries = {key: each for key, each in self.entries.items() if each.until + KEPT_S > now}


def request_key(line: bytes, authorization: bytes) -> bytes:
    return line + b"\n" + authorization

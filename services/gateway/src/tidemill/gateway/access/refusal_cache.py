"""What was refused for its rate a moment ago, so that the same is refused again without being looked at. Pure.

A rate says until when it refuses an account for sure. Until then the same request of the same token gets the same
answer, and who asks again and again gets it late.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from tidemill.gateway.limits import gcra
from tidemill.gateway.limits.gcra import Rate

CERTAIN_S: Final = 1.0  # at most, so that an operator who widens a limit is not waited for
PROMPT: Final = Rate(per_minute=600, burst=50)  # refusals of one kind that are answered at once: clients do repeat some
HOLD_S: Final = 1.0  # how late the others are answered; no Retry-After is shorter
REMEMBERED_S: Final = 30.0
LIMIT: Final = 10_000  # bounds memory under a flood of made-up paths
HELD_LIMIT: Final = 10_000  # connections of all accounts that wait for a late answer; those beyond are closed


class CachedRefusal(msgspec.Struct):
    until: float
    head: bytes  # status line and headers, without the empty line
    body: bytes
    count: Callable[[], None]  # counts one more
    prompt_at: float = 0.0
    look_s: float = 0.0  # in which no second request comes due
    looked_until: float = 0.0


class DelayedRefusal(NamedTuple):
    refusal: CachedRefusal
    hold_s: float


class RefusalCache:
    """Of one gateway. Keys are made by `key`; times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.known: dict[bytes, CachedRefusal] = {}
        self._stopped = False

    def stop(self) -> None:
        """From now on every request is looked at."""
        self._stopped, self.known = True, {}

    def note(self, key: bytes, refusal: CachedRefusal, now: float) -> None:
        if self._stopped:
            return
        known = self.known.get(key)
        if known is not None:
            refusal.prompt_at = known.prompt_at
        elif len(self.known) >= LIMIT:
            self.known.clear()
        refusal.until = min(refusal.until, now + CERTAIN_S)
        refusal.look_s = (refusal.until - now) / 2
        self.known[key] = refusal

    def again(self, key: bytes, now: float) -> DelayedRefusal | None:
        """What to answer to a request that would be refused for sure; None for one that must be looked at.

        Of those who ask again and again one at a time is looked at: hundreds may wait for the moment.
        """
        known = self.known.get(key)
        if known is None:
            return None
        known.prompt_at, verdict = gcra.take(known.prompt_at, now, PROMPT)
        if now >= known.until and (verdict.admitted or now >= known.looked_until):
            known.looked_until = now + known.look_s
            return None
        return DelayedRefusal(known, 0.0 if verdict.admitted else HOLD_S)

    def forget(self, now: float) -> None:
        """Those of long ago."""
        self.known = {key: each for key, each in self.known.items() if each.until + REMEMBERED_S > now}


def request_key(line: bytes, authorization: bytes) -> bytes:
    return line + b"\n" + authorization

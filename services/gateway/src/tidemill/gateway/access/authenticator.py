"""Authenticates requests, checks their scopes, and throttles addresses that send invalid tokens or none.

Requests without a valid token are told apart by client address, as far as the address can be trusted.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.errors import Problem, forbidden, throttled
from tidemill.gateway.access.address_rates import AddressRateLimiter
from tidemill.gateway.access.callers import CallerCache
from tidemill.gateway.access.client_address import client_address
from tidemill.gateway.caller import Caller
from tidemill.gateway.config import Config
from tidemill.gateway.limits.gcra import Rate
from tidemill.gateway.limits.rates import REFUSED
from tidemill.runtime.clock import monotonic
from tidemill.security.egress.addresses import Network

UNAUTHENTICATED: Final = 401
# Enough for a person who mistypes or a script with an old token. The tokens cannot be guessed at any rate.
FAILURES: Final = Rate(per_minute=30, burst=30)

TokenlessKind = Literal["anonymous", "signed"]  # a read of what is public; a URL that carries a signature


def tokenless_rates(config: Config) -> dict[TokenlessKind, Rate]:
    """Return the rates by kind, without those that the operator has switched off (0)."""
    given: dict[TokenlessKind, int] = {"anonymous": config.anonymous_per_minute, "signed": config.signed_per_minute}
    return {kind: Rate(per_minute, per_minute) for kind, per_minute in given.items() if per_minute > 0}


class Authenticator:
    """`proxies`: whose `X-Forwarded-For` is trusted. `tokenless`: the rate of each address by kind of request."""

    def __init__(
        self, callers: CallerCache, proxies: Sequence[Network], tokenless: Mapping[TokenlessKind, Rate]
    ) -> None:
        self._callers = callers
        self._proxies = proxies
        self._failures = AddressRateLimiter(FAILURES)
        self._tokenless = {kind: AddressRateLimiter(rate) for kind, rate in tokenless.items()}

    async def authenticate(self, request: web.Request, scope: Scope) -> Caller:
        """Return the caller. Raise the 401, the 403 and, for an address that has failed often, the 429 problem."""
        authorization = request.headers.get("Authorization")
        # A token that was valid a moment ago passes: users who share an address with an attacker are not throttled.
        if self._failures and not self._callers.was_valid(authorization):
            self._throttle_failures(request)
        try:
            caller = await self._callers.get(authorization)
        except Problem as problem:
            if authorization and problem.status == UNAUTHENTICATED:
                self._count_failure(request)
            raise
        if scope not in caller.scopes:
            raise forbidden(f"This token lacks the scope {scope}.")
        return caller

    def throttle_anonymous(self, request: web.Request, kind: TokenlessKind) -> None:
        """Count a request that needs no token. Raise the 429 problem when its address is over the rate."""
        limiter = self._tokenless.get(kind)
        address = None if limiter is None else self._address(request)
        if limiter is None or address is None:
            return
        wait_s = limiter.take(address, monotonic())
        if wait_s:
            REFUSED.labels(kind).inc()
            raise throttled(math.ceil(wait_s))

    def _throttle_failures(self, request: web.Request) -> None:
        address = self._address(request)
        wait_s = 0.0 if address is None else self._failures.retry_in_s(address, monotonic())
        if wait_s:
            REFUSED.labels("failures").inc()
            seconds = math.ceil(wait_s)
            raise throttled(
                seconds,
                f"Request was throttled. Too many invalid tokens came from your address; try again in ~{seconds}s.",
            )

    def _count_failure(self, request: web.Request) -> None:
        address = self._address(request)
        if address is not None:
            self._failures.take(address, monotonic())

    def _address(self, request: web.Request) -> str | None:
        return client_address(request.remote, ",".join(request.headers.getall("X-Forwarded-For", ())), self._proxies)

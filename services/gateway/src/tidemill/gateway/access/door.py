"""Lets callers in: who they are, whether they may do what they ask, and patience with those whose tokens are none.

Who comes without a token is told apart by address, as far as that can be believed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.errors import Problem, forbidden, throttled
from tidemill.gateway.access.addresses import Addresses
from tidemill.gateway.access.auth import Accounts
from tidemill.gateway.access.client_address import client
from tidemill.gateway.caller import Caller
from tidemill.gateway.config import Config
from tidemill.gateway.limits.gcra import Rate
from tidemill.gateway.limits.rates import REFUSED
from tidemill.runtime.clock import monotonic
from tidemill.security.egress.addresses import Network

UNAUTHENTICATED: Final = 401
# A person mistyping or a script with an old token gets by; the tokens themselves cannot be guessed at any rate.
FAILURES: Final = Rate(per_minute=30, burst=30)

Tokenless = Literal["anonymous", "signed"]  # reads what is public; holds a URL that carries a signature


def tokenless_rates(config: Config) -> dict[Tokenless, Rate]:
    """Without those that the operator has switched off."""
    given: dict[Tokenless, int] = {"anonymous": config.anonymous_per_minute, "signed": config.signed_per_minute}
    return {kind: Rate(per_minute, per_minute) for kind, per_minute in given.items() if per_minute > 0}


class Door:
    """`proxies`: whose word counts for where a request comes from. `tokenless`: rates by address, where there are."""

    def __init__(self, accounts: Accounts, proxies: Sequence[Network], tokenless: Mapping[Tokenless, Rate]) -> None:
        self._accounts = accounts
        self._proxies = proxies
        self._guesses = Addresses(FAILURES)
        self._tokenless = {kind: Addresses(rate) for kind, rate in tokenless.items()}

    async def enter(self, request: web.Request, scope: Scope) -> Caller:
        """Raises the 401, the 403 and, for an address that has failed often, the 429 problem."""
        authorization = request.headers.get("Authorization")
        # A token that was good a moment ago is no guess: those who share an address with a guesser go on.
        if self._guesses and not self._accounts.knows(authorization):
            self._make_wait(request)
        try:
            caller = await self._accounts.authenticate(authorization)
        except Problem as problem:
            if authorization and problem.status == UNAUTHENTICATED:
                self._note(request)
            raise
        if scope not in caller.scopes:
            raise forbidden(f"This token lacks the scope {scope}.")
        return caller

    def pass_by(self, request: web.Request, kind: Tokenless) -> None:
        """Counts a request that needs no token. Raises the 429 problem for an address that sends very many."""
        taken = self._tokenless.get(kind)
        address = None if taken is None else self._address(request)
        if taken is None or address is None:
            return
        wait_s = taken.take(address, monotonic())
        if wait_s:
            REFUSED.labels(kind).inc()
            raise throttled(math.ceil(wait_s))

    def _make_wait(self, request: web.Request) -> None:
        address = self._address(request)
        wait_s = 0.0 if address is None else self._guesses.wait_s(address, monotonic())
        if wait_s:
            REFUSED.labels("failures").inc()
            seconds = math.ceil(wait_s)
            raise throttled(
                seconds,
                f"Request was throttled. Too many invalid tokens came from your address; try again in ~{seconds}s.",
            )

    def _note(self, request: web.Request) -> None:
        address = self._address(request)
        if address is not None:
            self._guesses.take(address, monotonic())

    def _address(self, request: web.Request) -> str | None:
        return client(request.remote, ",".join(request.headers.getall("X-Forwarded-For", ())), self._proxies)

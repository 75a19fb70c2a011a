"""Lets callers in: who they are, whether they may do what they ask, and patience with those whose tokens are none."""

import math
from typing import Final

from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.errors import Problem, forbidden, throttled
from tidemill.gateway.access.auth import Accounts
from tidemill.gateway.access.client_address import Networks, client
from tidemill.gateway.access.guesses import Guesses
from tidemill.gateway.caller import Caller
from tidemill.gateway.limits.rates import REFUSED
from tidemill.runtime.clock import monotonic

UNAUTHENTICATED: Final = 401


class Door:
    """`proxies`: whose word counts for where a request comes from."""

    def __init__(self, accounts: Accounts, proxies: Networks) -> None:
        self._accounts = accounts
        self._proxies = proxies
        self._guesses = Guesses()

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
            self._guesses.failed(address, monotonic())

    def _address(self, request: web.Request) -> str | None:
        return client(request.remote, ",".join(request.headers.getall("X-Forwarded-For", ())), self._proxies)

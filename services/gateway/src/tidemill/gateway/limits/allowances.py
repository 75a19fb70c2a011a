"""The limits of one account: rates of creates and of other requests, and the number of open predictions. Pure."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

import msgspec

from tidemill.contracts.limits import CREATES_PER_MINUTE, OPEN_PREDICTIONS, REQUESTS_PER_MINUTE
from tidemill.gateway.config import Config
from tidemill.gateway.limits.gcra import Rate
from tidemill.runtime.db import Row

RateKind = Literal["creates", "requests"]


class Allowances(msgspec.Struct, frozen=True, kw_only=True):
    creates: Rate = Rate(CREATES_PER_MINUTE, CREATES_PER_MINUTE)
    requests: Rate = Rate(REQUESTS_PER_MINUTE, REQUESTS_PER_MINUTE)
    open_predictions: int = OPEN_PREDICTIONS

    def rate(self, kind: RateKind) -> Rate:
        return self.creates if kind == "creates" else self.requests


class LimitedAccount(Protocol):
    """What limits need to know of an account. `allowances`: None for no limits."""

    @property
    def id(self) -> str: ...
    @property
    def allowances(self) -> Allowances | None: ...


STANDARD: Final = Allowances()


def default_allowances(config: Config) -> Allowances:
    return Allowances(
        creates=Rate(config.creates_per_minute, config.creates_per_minute),
        requests=Rate(config.requests_per_minute, config.requests_per_minute),
        open_predictions=config.open_predictions,
    )


def account_allowances(row: Mapping[str, Any] | Row, default: Allowances) -> Allowances | None:
    """Return the allowances of a row of `account`; columns that are null take the default. None: no limits at all."""
    if row["unlimited"]:
        return None
    return Allowances(
        creates=_rate(row["creates_per_minute"], row["creates_burst"], default.creates),
        requests=_rate(row["requests_per_minute"], row["requests_burst"], default.requests),
        open_predictions=default.open_predictions if row["open_predictions"] is None else row["open_predictions"],
    )


def _rate(per_minute: int | None, burst: int | None, default: Rate) -> Rate:
    """An account with its own rate and no own burst gets a minute's worth as the burst, like the default."""
    if per_minute is None:
        return default if burst is None else Rate(default.per_minute, burst)
    return Rate(per_minute, per_minute if burst is None else burst)

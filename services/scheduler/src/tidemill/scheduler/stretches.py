"""Which stretches of accepted_at to read, so that each is read once for sure, and early for promptness.

Pure; times as in `sweep`. A row may become visible some time after its accepted_at, but not later than its statement
may run: what lies further back than that is settled.
"""

from typing import Final, NamedTuple

from tidemill.runtime.db import STATEMENT_TIMEOUT_S

SETTLED_AFTER_S: Final = STATEMENT_TIMEOUT_S + 2.0  # the margin is for the commit
FRESH_AFTER_S: Final = 1.0  # most predictions have ended by then and need no reading
SLICE_S: Final = 300.0  # bounds one statement after an outage: 600,000 rows at 2,000 predictions a second


class Stretch(NamedTuple):
    """after < accepted_at <= until."""

    after: float
    until: float


class Stretches:
    def __init__(self, reached: float) -> None:
        """`reached`: no open row is older."""
        self._settled = reached
        self._fresh = reached
        self._backlog: list[Stretch] = []

    def advance(self, now: float) -> None:
        """Time has passed: more is settled."""
        until = now - SETTLED_AFTER_S
        if until > self._settled:
            self._backlog.extend(slices(self._settled, until))
            self._settled = until

    def next_settled(self) -> Stretch | None:
        """The newest that is left, for it concerns those who still wait; call `read` when it has been read."""
        return self._backlog[-1] if self._backlog else None

    def read(self, stretch: Stretch) -> None:
        self._backlog.remove(stretch)

    def next_fresh(self, now: float) -> Stretch | None:
        """Read for promptness alone; what it misses or what fails is read again as settled."""
        stretch = Stretch(max(self._fresh, self._settled), now - FRESH_AFTER_S)
        self._fresh = max(self._fresh, stretch.until)
        return stretch if stretch.until > stretch.after else None

    def seen_until(self) -> float:
        """Nothing that was accepted after this has been looked for yet."""
        return max(self._fresh, self._settled)

    def reached(self) -> float:
        """All rows accepted up to here have been read."""
        return min((stretch.after for stretch in self._backlog), default=self._settled)


def slices(after: float, until: float) -> list[Stretch]:
    """From oldest to newest; together they are the whole, without overlap."""
    found = []
    while after < until:
        found.append(Stretch(after, min(after + SLICE_S, until)))
        after += SLICE_S
    return found

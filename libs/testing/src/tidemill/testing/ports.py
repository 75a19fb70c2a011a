"""Ports for stacks that tests start, stop and start again: nobody else of this machine takes them in between."""

from typing import Final

from tidemill.stack.processes.ports import PortReservations

SPAN: Final = 8
# Above those that Linux gives to connections and far from those that stacks choose: only who asks for one has one.
NUMBERS: Final = range(61_000, 65_000, SPAN)


class OwnPort:
    """`number` and the seven above it, which a stack may move to, are no other OwnPort's while this one lives.

    It is reserved for tests and not for stacks, so that a stack that is told to use it can reserve it.
    """

    def __init__(self) -> None:
        self._reservations = PortReservations("tests")
        self.number = self._reservations.choose(among=NUMBERS)

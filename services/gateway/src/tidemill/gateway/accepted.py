"""A prediction that the gateway accepts, between its request and its row."""

from tidemill.runtime.predictions.acceptance import NewPrediction


class Accepted(NewPrediction, kw_only=True, frozen=True):
    """The row, and what only its request and its job know."""

    traceparent: str | None = None
    secrets: frozenset[str] = frozenset()  # names of the inputs that are never shown

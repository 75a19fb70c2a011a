"""A prediction that the gateway is accepting: from its request to its row."""

from tidemill.runtime.predictions.acceptance import NewPrediction


class Accepted(NewPrediction, kw_only=True, frozen=True):
    """The row, and the facts that only the request and the job have."""

    traceparent: str | None = None
    secrets: frozenset[str] = frozenset()  # names of the secret inputs

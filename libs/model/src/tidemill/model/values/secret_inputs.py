"""Redacts secret inputs of running and recently ended predictions in logs and error texts.

It prevents accidents: a model that wants to disclose a secret can. Outputs are not redacted.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from cog import Secret
from tidemill.model.introspection import records
from tidemill.model.values.outcomes import ModelOutcome

MARK: Final = "[secret]"
MINIMUM_CHARS: Final = 4  # of a secret to search for: a shorter one would match in every line
KEPT_ENDED: Final = 16  # ended predictions whose secrets are kept: their threads may print later


class SecretInputs:
    def __init__(self) -> None:
        self._by_prediction: dict[str, _SecretPattern] = {}
        self._ended: deque[_SecretPattern] = deque(maxlen=KEPT_ENDED)

    def add(self, prediction: str, arguments: Mapping[str, Any]) -> None:
        """Redact the secrets of these arguments from now on, also each line of a secret: loggers print lines."""
        found = {part.strip() for secret in _secrets(arguments) for part in (secret, *secret.splitlines())}
        # Longest first: one secret may be part of another.
        values = sorted((each for each in found if len(each) >= MINIMUM_CHARS), key=len, reverse=True)
        if values:
            self._by_prediction[prediction] = _SecretPattern(
                tuple(values), re.compile("|".join(map(re.escape, values)))
            )

    def redact(self, text: str) -> str:
        """Return the text without the secrets of all known predictions: a thread may print for another prediction."""
        for values in self._known():
            text = values.pattern.sub(MARK, text)
        return text

    def partial_length(self, text: str) -> int:
        """Return how many characters at the end of `text` may be the start of a secret."""
        lengths = (_partial_length(text, value) for values in self._known() for value in values.values)
        return max(lengths, default=0)

    def redact_outcome(self, prediction: str, outcome: ModelOutcome) -> ModelOutcome:
        """Return the redacted outcome of a prediction that ends. Forget its secrets after KEPT_ENDED more."""
        if outcome.error is not None and self._known():
            outcome = replace(outcome, error=self.redact(outcome.error))
        ended = self._by_prediction.pop(prediction, None)
        if ended is not None:
            self._ended.append(ended)
        return outcome

    def _known(self) -> Sequence["_SecretPattern"]:
        return (*self._by_prediction.values(), *self._ended) if self._by_prediction or self._ended else ()


class _SecretPattern(NamedTuple):
    values: tuple[str, ...]
    pattern: re.Pattern[str]


def _partial_length(text: str, value: str) -> int:
    lengths = range(min(len(text), len(value) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(value[:length])), 0)


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.get_secret_value() or ""
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)
    elif records.is_record(type(value)):
        yield from _secrets(vars(value))

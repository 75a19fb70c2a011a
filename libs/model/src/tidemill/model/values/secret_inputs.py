"""Secret inputs of the predictions that run or have just run, taken out of what the model says in logs and errors.

A model that wants to give a secret away can; this keeps it out of logs when it does so by accident. Outputs are its
results and stay as they are.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from cog import Secret
from tidemill.model.introspection import records
from tidemill.model.values.outcomes import Outcome

MARK: Final = "[secret]"
MINIMUM_CHARS: Final = 4  # of what is looked for: a shorter one would take single letters out of every line
KEPT_ENDED: Final = 16  # a thread of an ended prediction's may print later, into the logs of somebody else's


class SecretInputs:
    def __init__(self) -> None:
        self._of: dict[str, _Values] = {}
        self._ended: deque[_Values] = deque(maxlen=KEPT_ENDED)

    def hide(self, prediction: str, arguments: Mapping[str, Any]) -> None:
        """From here on. Each line of a secret counts for itself, as loggers print lines."""
        found = {part.strip() for secret in _secrets(arguments) for part in (secret, *secret.splitlines())}
        # The longest first: one may be a part of another.
        values = sorted((each for each in found if len(each) >= MINIMUM_CHARS), key=len, reverse=True)
        if values:
            self._of[prediction] = _Values(tuple(values), re.compile("|".join(map(re.escape, values))))

    def cleaned(self, text: str) -> str:
        """Without the secrets of all that run: a thread's text may count to another prediction than its own."""
        for values in self._known():
            text = values.pattern.sub(MARK, text)
        return text

    def begun(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a secret whose rest is still to come."""
        each = (_begun(text, value) for values in self._known() for value in values.values)
        return max(each, default=0)

    def end(self, prediction: str, outcome: Outcome) -> Outcome:
        """The outcome as it may go on; the prediction's secrets are forgotten when others have ended after it."""
        if outcome.error is not None and self._known():
            outcome = replace(outcome, error=self.cleaned(outcome.error))
        ended = self._of.pop(prediction, None)
        if ended is not None:
            self._ended.append(ended)
        return outcome

    def _known(self) -> Sequence["_Values"]:
        return (*self._of.values(), *self._ended) if self._of or self._ended else ()


class _Values(NamedTuple):
    values: tuple[str, ...]
    pattern: re.Pattern[str]


def _begun(text: str, value: str) -> int:
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

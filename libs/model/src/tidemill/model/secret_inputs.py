"""Secret inputs of the predictions that run, taken out of what the model says in logs and errors.

A model that wants to give a secret away can; this keeps it out of logs when it does so by accident. Outputs are its
results and stay as they are.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cog import Secret
from tidemill.model import records
from tidemill.model.results import Outcome

MARK: Final = "[secret]"
MINIMUM_CHARS: Final = 4  # of what is looked for: a shorter one would take single letters out of every line


class SecretInputs:
    def __init__(self) -> None:
        self._of: dict[str, re.Pattern[str]] = {}

    def hide(self, prediction: str, arguments: Mapping[str, Any]) -> None:
        """From here on until its `end`. Each line of a secret counts for itself, as loggers print lines."""
        found = {part.strip() for secret in _secrets(arguments) for part in (secret, *secret.splitlines())}
        # The longest first: one may be a part of another.
        values = sorted((each for each in found if len(each) >= MINIMUM_CHARS), key=len, reverse=True)
        if values:
            self._of[prediction] = re.compile("|".join(map(re.escape, values)))

    def cleaned(self, text: str) -> str:
        """Without the secrets of all that run: a thread's text may count to another prediction than its own."""
        if not self._of:
            return text
        for values in tuple(self._of.values()):
            text = values.sub(MARK, text)
        return text

    def end(self, prediction: str, outcome: Outcome) -> Outcome:
        """The outcome as it may go on; the prediction's secrets are forgotten."""
        if not self._of:
            return outcome
        if outcome.error is not None:
            outcome = replace(outcome, error=self.cleaned(outcome.error))
        self._of.pop(prediction, None)
        return outcome


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

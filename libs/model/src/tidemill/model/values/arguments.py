"""Builds the arguments of the model's function from the input of a prediction.

It names unknown inputs in the prediction's logs, and keeps secrets out of them.
"""

import sys
from collections.abc import Mapping
from typing import Any

from tidemill.model.introspection.shapes import holds_secrets
from tidemill.model.introspection.signature import Signature
from tidemill.model.values.coerce import build_kwargs, unknown_inputs
from tidemill.model.values.secret_inputs import SecretInputs


class ArgumentBuilder:
    def __init__(self, signature: Signature, secrets: SecretInputs) -> None:
        self._signature = signature
        self._secrets = secrets
        self._names = frozenset(parameter.name for parameter in signature.parameters)
        self._has_secrets = any(holds_secrets(parameter.shape) for parameter in signature.parameters)

    def build(self, prediction: str, values: Mapping[str, Any], *, again: bool = False) -> dict[str, Any]:
        """Raise InputError. Print a warning of unknown inputs, unless `again`: a warning was printed before.

        The caller has made the prediction the owner of printed text.
        """
        if not again and not values.keys() <= self._names:
            unknown = ", ".join(map(repr, unknown_inputs(self._signature, values)))
            sys.stderr.write(f"Warning: the model has no inputs called {unknown}; they are left out.\n")
        arguments = build_kwargs(self._signature, values)
        if self._has_secrets:
            self._secrets.add(prediction, arguments)
        return arguments

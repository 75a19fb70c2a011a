"""The arguments of each prediction, as a server gives them to the model's function.

What the function does not know is named in the prediction's logs; what is secret is kept out of them.
"""

import sys
from collections.abc import Mapping
from typing import Any

from tidemill.model.introspection.shapes import holds_secrets
from tidemill.model.introspection.signature import Signature
from tidemill.model.values.coerce import build_kwargs, unknown_inputs
from tidemill.model.values.secret_inputs import SecretInputs


class Arguments:
    def __init__(self, signature: Signature, secrets: SecretInputs) -> None:
        self._signature = signature
        self._secrets = secrets
        self._names = frozenset(parameter.name for parameter in signature.parameters)
        self._has_secrets = any(holds_secrets(parameter.shape) for parameter in signature.parameters)

    def of(self, prediction: str, values: Mapping[str, Any], *, again: bool = False) -> dict[str, Any]:
        """Called where what is printed goes to the prediction's logs, `again` for one that was told already.

        Raises InputError.
        """
        if not again and not values.keys() <= self._names:
            strangers = ", ".join(map(repr, unknown_inputs(self._signature, values)))
            sys.stderr.write(f"Warning: the model has no inputs called {strangers}; they are left out.\n")
        arguments = build_kwargs(self._signature, values)
        if self._has_secrets:
            self._secrets.hide(prediction, arguments)
        return arguments

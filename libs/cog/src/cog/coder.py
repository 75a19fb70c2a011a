"""`Coder`: an author's conversion between a type of their own and a JSON object.

Some models import `json_coder`, `dataclass_coder` and `set_coder`, because Cog registers them on import. Here those
types work without registration.
"""

from typing import Any, ClassVar


class Coder:
    _coders: ClassVar[list[type["Coder"]]] = []

    @staticmethod
    def register(coder: type["Coder"]) -> None:
        if coder not in Coder._coders:
            Coder._coders.append(coder)

    @staticmethod
    def lookup(tpe: Any) -> "Coder | None":
        """Return a coder for the type, from the first registered class that supports it."""
        for coder in Coder._coders:
            found = coder.factory(tpe)
            if found is not None:
                return found
        return None

    @staticmethod
    def factory(tpe: Any) -> "Coder | None":  # noqa: ARG004 - for subclasses to use
        """Return a coder for a type that it supports, else None. Subclasses override this."""
        return None

    def encode(self, x: Any) -> dict[str, Any]:
        raise TypeError(f"{type(self).__name__} does not encode {type(x).__name__}")

    def decode(self, x: dict[str, Any]) -> Any:
        raise TypeError(f"{type(self).__name__} does not decode {type(x).__name__}")


json_coder = dataclass_coder = set_coder = Coder()

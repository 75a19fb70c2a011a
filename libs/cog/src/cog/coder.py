"""`Coder`: how an author teaches the platform a type of their own, as a JSON object in both directions.

`json_coder`, `dataclass_coder` and `set_coder` are names that some models import for their effect in Cog, which is
to register them; those types are understood here without it.
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
        """A coder for the type, from the registered class that first says it can."""
        for coder in Coder._coders:
            found = coder.factory(tpe)
            if found is not None:
                return found
        return None

    @staticmethod
    def factory(tpe: Any) -> "Coder | None":  # noqa: ARG004 - for subclasses to use
        """Overridden by each coder: itself for a type it knows, else None."""
        return None

    def encode(self, x: Any) -> dict[str, Any]:
        raise TypeError(f"{type(self).__name__} does not encode {type(x).__name__}")

    def decode(self, x: dict[str, Any]) -> Any:
        raise TypeError(f"{type(self).__name__} does not decode {type(x).__name__}")


json_coder = dataclass_coder = set_coder = Coder()

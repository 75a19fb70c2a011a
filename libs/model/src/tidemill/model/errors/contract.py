"""Errors between a model and the platform. Each message tells its reader what to change."""


class ContractError(Exception):
    """The model's source breaks the author's contract. Its reader is the author."""

    def within(self, place: str) -> "ContractError":
        """Return the same error with the place in front of its message, such as "parameter 'x'"."""
        return type(self)(f"{place}: {self}")


class InputError(Exception):
    """An input value is invalid. Its reader is the caller of the API. `field` is a dotted path."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class OutputError(Exception):
    """The model returned a value that is no valid output. Its readers are author and caller."""

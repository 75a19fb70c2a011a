"""What can be wrong between a model and the platform, each said so that its reader can act on it."""


class ContractError(Exception):
    """The model's source does not keep the author's contract; the author reads this."""

    def within(self, place: str) -> "ContractError":
        """The same error, told from further out: `within("parameter 'x'")` puts that in front."""
        return type(self)(f"{place}: {self}")


class InputError(Exception):
    """A value of the request does not fit; the caller of the API reads this. `field` is a dotted path."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class OutputError(Exception):
    """The model returned something that is not an output; author and caller read this."""

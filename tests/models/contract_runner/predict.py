"""The newer names: BaseRunner, run and a streaming mark, without a setup."""

from typing import Annotated, Any, Iterator, Literal

from cog import BaseRunner, Input, Opaque, streaming


class Runner(BaseRunner):
    @streaming
    def run(
        self,
        size: Literal["small", "large"] = "small",
        seed: int | None = None,
        value: str | float | None = Input(default=None),
        options: Annotated[Any, Opaque] = Input(default=None),
        tags: list[str] = Input(default=["a"], max_length=3),
    ) -> Iterator[dict[str, Any]]:
        yield {"size": size, "tags": tags}
        yield {"seed": seed, "value": value, "options": options}

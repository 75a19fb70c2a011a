"""Sets a value at a JSON pointer (RFC 6901). Pure: it copies what it changes."""

import re
from typing import Any, Final

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")


class PointerError(Exception):
    """The pointer is malformed, or leads to nothing or to something else than null."""


def set_at(value: Any, pointer: str, url: str) -> Any:
    """Return a copy of `value` with `url` in place of the null at `pointer`. Raise PointerError."""
    if pointer and not pointer.startswith("/"):
        raise PointerError(pointer)
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    top = [value]
    container: Any = top
    key: int | str = 0
    for token in tokens:
        # Each step copies its container, so that the caller's value stays unchanged.
        inner = container[key]
        copy = list(inner) if isinstance(inner, list) else dict(inner) if isinstance(inner, dict) else None
        container[key] = copy
        container, key = copy, _key(copy, token, pointer)
    if container[key] is not None:
        raise PointerError(pointer)
    container[key] = url
    return top[0]


def _key(container: Any, token: str, pointer: str) -> int | str:
    if isinstance(container, dict) and token in container:
        return token
    if isinstance(container, list) and _NUMBER.fullmatch(token) and int(token) < len(container):
        return int(token)
    raise PointerError(pointer)

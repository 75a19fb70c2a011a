"""Puts a value at a JSON pointer (RFC 6901). Pure; the given value is left as it is."""

import re
from typing import Any, Final

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")


class PointerError(Exception):
    """The pointer is malformed, leads nowhere, or to something else than the null that should stand there."""


def set_at(value: Any, pointer: str, url: str) -> Any:
    """`value` with `url` in place of the null at `pointer`. Raises PointerError."""
    if pointer and not pointer.startswith("/"):
        raise PointerError(pointer)
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    top = [value]
    place: Any = top
    key: int | str = 0
    for token in tokens:
        # Each step copies what it goes through: the caller's value and shared parts of it stay as they are.
        inner = place[key]
        copy = list(inner) if isinstance(inner, list) else dict(inner) if isinstance(inner, dict) else None
        place[key] = copy
        place, key = copy, _key(copy, token, pointer)
    if place[key] is not None:
        raise PointerError(pointer)
    place[key] = url
    return top[0]


def _key(container: Any, token: str, pointer: str) -> int | str:
    if isinstance(container, dict) and token in container:
        return token
    if isinstance(container, list) and _NUMBER.fullmatch(token) and int(token) < len(container):
        return int(token)
    raise PointerError(pointer)

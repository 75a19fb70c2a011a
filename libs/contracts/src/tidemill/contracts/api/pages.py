"""One page of any list."""

from typing import Generic, TypeVar

import msgspec

ItemT = TypeVar("ItemT")


class Page(msgspec.Struct, Generic[ItemT], kw_only=True):
    """One page of anything; `next` and `previous` are absolute URLs, followed verbatim."""

    next: str | None
    previous: str | None
    results: list[ItemT]

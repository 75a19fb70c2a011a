"""What became of instances of a version, as its model's owner sees it."""

from typing import Annotated

import msgspec
from msgspec import Meta


class Boot(msgspec.Struct, kw_only=True):
    instance: Annotated[str, Meta(description="Its id.")]
    began_at: Annotated[str, Meta(description="ISO 8601 in UTC.")]
    ready_at: Annotated[str | None, Meta(description="Null when the boot failed.")]
    error: Annotated[str | None, Meta(description="Why it failed, or what ended the instance later.")]
    phases: Annotated[dict[str, float] | None, Meta(description="Seconds of each phase; null when it failed.")]
    logs: Annotated[str, Meta(description="What the model printed until it was ready: the end of it, up to 64 KiB.")]

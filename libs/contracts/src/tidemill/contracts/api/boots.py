"""Boots of a version's instances, as the owner of the model sees them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Boot(msgspec.Struct, kw_only=True):
    instance: Annotated[str, Meta(description="Its id.")]
    status: Annotated[
        Literal["booting", "ready", "failed"],
        Meta(description="`booting`: it goes on. `ready`: it came up, whatever ended it later."),
    ]
    began_at: Annotated[str, Meta(description="ISO 8601 in UTC.")]
    ready_at: Annotated[str | None, Meta(description="Null when the boot failed, or goes on.")]
    error: Annotated[str | None, Meta(description="Why it failed, or what ended the instance later.")]
    phases: Annotated[dict[str, float] | None, Meta(description="Seconds of each phase; null until it is ready.")]
    logs: Annotated[
        str,
        Meta(description="What the model printed until it was ready, or until now: the end of it, up to 64 KiB."),
    ]

"""Run-time secrets of models, as their owners see them: names and times, never values."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tidemill.contracts.api.fields import Timestamp

SECRETS_LIMIT: Final = 64  # of one model; more is configuration, which belongs in the model's files
SECRET_NAME_LIMIT_CHARS: Final = 128
SECRET_LIMIT_CHARS: Final = 16_384  # a chain of certificates with its key fits
# Shorter secrets are easy to guess, and removing them from logs would remove ordinary words.
SECRET_MINIMUM_CHARS: Final = 8


class SetSecret(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    value: Annotated[
        str,
        Meta(
            min_length=SECRET_MINIMUM_CHARS,
            max_length=SECRET_LIMIT_CHARS,
            description="What the model finds in its environment. It is never shown again.",
        ),
    ]


class Secret(msgspec.Struct, kw_only=True):
    """That there is one; nobody is ever told its value."""

    name: Annotated[str, Meta(description="Of the environment variable.")]
    created_at: Timestamp
    updated_at: Annotated[str, Meta(description="When its value was set last; ISO 8601 in UTC.")]

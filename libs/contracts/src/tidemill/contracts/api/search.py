"""Results of a search over models, collections and pages."""

import msgspec

from tidemill.contracts.api.models import Model


class SearchMetadata(msgspec.Struct, kw_only=True):
    """How well a model fits: `score` is comparable within one answer only."""

    generated_description: str | None
    tags: list[str]
    score: float


class FoundModel(msgspec.Struct, kw_only=True):
    model: Model
    metadata: SearchMetadata


class FoundCollection(msgspec.Struct, kw_only=True):
    """`models` as owner/name."""

    name: str
    slug: str
    description: str
    models: list[str]


class FoundPage(msgspec.Struct, kw_only=True):
    name: str
    href: str


class SearchResults(msgspec.Struct, kw_only=True):
    """The best first."""

    query: str
    models: list[FoundModel]
    collections: list[FoundCollection]
    pages: list[FoundPage]

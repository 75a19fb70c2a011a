"""What is said about models: changes, examples, search, collections. Models themselves and versions are in `api`."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tidemill.contracts.api import Description, Link, Model, Visibility
from tidemill.contracts.ids import LENGTH
from tidemill.contracts.limits import README_LIMIT_CHARS

Readme = Annotated[str, Meta(max_length=README_LIMIT_CHARS, description="Markdown")]
PredictionId = Annotated[str, Meta(min_length=LENGTH, max_length=LENGTH, description="The id of a prediction")]
Clearable = UnsetType | None  # absent leaves a thing as it is, null clears it


class UpdateModel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is absent stays; null clears. From `visibility` on these are extensions."""

    description: Description | Clearable = UNSET
    readme: Readme | Clearable = UNSET
    github_url: Link | Clearable = UNSET
    paper_url: Link | Clearable = UNSET
    weights_url: Link | Clearable = UNSET
    license_url: Link | Clearable = UNSET
    visibility: Visibility | UnsetType = UNSET
    hardware: Annotated[str, Meta(max_length=64, description="A sku of GET /hardware")] | UnsetType = UNSET
    cover_image_url: Link | Clearable = UNSET
    default_example: (
        Annotated[str, Meta(max_length=LENGTH, description="The id of one of the model's examples")] | Clearable
    ) = UNSET


class AddExample(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`prediction` is the id of a prediction of one's own that succeeded with this model and has its data still."""

    prediction: PredictionId


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


class CollectionSummary(msgspec.Struct, kw_only=True):
    name: str
    slug: str
    description: str


class Collection(CollectionSummary, kw_only=True):
    """`full_description` is Markdown."""

    full_description: str | None
    models: list[Model]

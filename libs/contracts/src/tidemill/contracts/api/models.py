"""Models, their versions and collections as they are on the wire, and their request bodies."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from tidemill.contracts.api.fields import Description, LinkOrEmpty, Name, Visibility
from tidemill.contracts.api.predictions import Prediction
from tidemill.contracts.ids import ID_LENGTH_CHARS
from tidemill.contracts.limits import README_LIMIT_CHARS

Readme = Annotated[str, Meta(max_length=README_LIMIT_CHARS, description="Markdown")]
PredictionId = Annotated[
    str, Meta(min_length=ID_LENGTH_CHARS, max_length=ID_LENGTH_CHARS, description="The id of a prediction")
]
Clearable = UnsetType | None  # absent leaves a thing as it is, null clears it


class Version(msgspec.Struct, kw_only=True):
    id: str
    created_at: str
    cog_version: str
    openapi_schema: Raw
    digest: Annotated[str, Meta(description="sha256 of the index of its files: equal for the same files")]
    warnings: Annotated[list[str], Meta(description="What its push warned of")] | UnsetType = UNSET


class Model(msgspec.Struct, kw_only=True):
    url: str
    owner: str
    name: str
    description: str | None
    visibility: Visibility
    is_official: bool
    github_url: str | None
    paper_url: str | None
    license_url: str | None
    weights_url: str | None
    run_count: int
    cover_image_url: str | None
    hardware: str
    created_at: str
    default_example: Prediction | None
    latest_version: Version | None


class CreateModel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    owner: Name
    name: Name
    visibility: Visibility
    hardware: Annotated[str, Meta(max_length=64, description="A sku of GET /hardware")]
    description: Description | None = None
    github_url: LinkOrEmpty | None = None
    paper_url: LinkOrEmpty | None = None
    license_url: LinkOrEmpty | None = None
    cover_image_url: LinkOrEmpty | None = None


class UpdateModel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is absent stays; null clears. From `visibility` on these are extensions."""

    description: Description | Clearable = UNSET
    readme: Readme | Clearable = UNSET
    github_url: LinkOrEmpty | Clearable = UNSET
    paper_url: LinkOrEmpty | Clearable = UNSET
    weights_url: LinkOrEmpty | Clearable = UNSET
    license_url: LinkOrEmpty | Clearable = UNSET
    visibility: Visibility | UnsetType = UNSET
    hardware: Annotated[str, Meta(max_length=64, description="A sku of GET /hardware")] | UnsetType = UNSET
    cover_image_url: LinkOrEmpty | Clearable = UNSET
    default_example: (
        Annotated[str, Meta(max_length=ID_LENGTH_CHARS, description="The id of one of the model's examples")]
        | Clearable
    ) = UNSET


class AddExample(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`prediction` is the id of a prediction of one's own that succeeded with this model and has its data still."""

    prediction: PredictionId


class CollectionSummary(msgspec.Struct, kw_only=True):
    name: str
    slug: str
    description: str


class Collection(CollectionSummary, kw_only=True):
    """`full_description` is Markdown."""

    full_description: str | None
    models: list[Model]

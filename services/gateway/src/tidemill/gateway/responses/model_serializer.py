"""Serializes models, versions and examples. Pure, except that it reads the clock for the expiry of file URLs."""

import msgspec
from msgspec import UNSET, Raw

from tidemill.contracts.api.models import Model, Version
from tidemill.contracts.api.predictions import Prediction
from tidemill.gateway.call import Call
from tidemill.gateway.protocols import HasSigningKey
from tidemill.gateway.responses.url_renewal import UrlRenewer
from tidemill.runtime import serializers
from tidemill.runtime.clock import now, rfc3339
from tidemill.runtime.db import Row


def model(call: Call[HasSigningKey], row: Row, default_example: Row | None) -> Model:
    """`row` has the columns of stores.models.MODEL, `default_example` is the row of that prediction."""
    return Model(
        url=f"{call.public_url}/{row['owner']}/{row['name']}",
        owner=row["owner"],
        name=row["name"],
        description=row["description"],
        visibility=row["visibility"],
        is_official=row["official"],
        github_url=row["github_url"],
        paper_url=row["paper_url"],
        license_url=row["license_url"],
        weights_url=row["weights_url"],
        run_count=row["run_count"],
        cover_image_url=row["cover_image_url"],
        hardware=row["hardware"],
        created_at=rfc3339(row["created_at"].timestamp()),
        default_example=None if default_example is None else example(call, default_example),
        latest_version=None if row["version_id"] is None else version(row),
    )


def version(row: Row) -> Version:
    return Version(
        id=row["version_id"],
        digest=row["version_digest"],
        created_at=rfc3339(row["version_created_at"].timestamp()),
        cog_version=row["cog_version"],
        openapi_schema=Raw(row["openapi_schema"].encode()),
        warnings=msgspec.json.decode(row["version_warnings"] or "[]", type=list[str]) or UNSET,
    )


def example(call: Call[HasSigningKey], row: Row) -> Prediction:
    """Return an example as everybody who may see the model sees it: without webhook and deployment."""
    shown = serializers.prediction(dict(row.items()), call.public_url, stream_url=None)
    shown.webhook = shown.webhook_events_filter = shown.deployment = UNSET
    return UrlRenewer(call.parts.signing_key, call.public_url, now()).prediction(shown)

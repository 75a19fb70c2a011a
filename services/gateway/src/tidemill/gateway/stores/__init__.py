"""The SQL of the gateway, one module for each kind of row. SQL stands nowhere else in this service.

Names: `find` returns a row or None, `page` the rows of one page of a list, `list_…` all rows; `create`, `update`,
`delete` write. A module with two kinds of row adds the noun: `find_endpoint`, `endpoints_page`.
"""

from tidemill.gateway.stores import (
    allowances,
    boots,
    deployments,
    discovery,
    event_consumers,
    examples,
    files,
    models,
    organizations,
    predictions,
    pushes,
    secrets,
    tokens,
    trainings,
    versions,
    webhooks,
)

__all__ = [
    "allowances",
    "boots",
    "deployments",
    "discovery",
    "event_consumers",
    "examples",
    "files",
    "models",
    "organizations",
    "predictions",
    "pushes",
    "secrets",
    "tokens",
    "trainings",
    "versions",
    "webhooks",
]

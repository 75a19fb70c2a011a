"""The SQL of everything but predictions, which `store` has: one module for each kind of thing."""

from tidemill.gateway.stores import (
    boots,
    deployments,
    discovery,
    events,
    examples,
    files,
    limits,
    models,
    organizations,
    pushes,
    secrets,
    tokens,
    trainings,
    versions,
    webhooks,
)

__all__ = [
    "boots",
    "deployments",
    "discovery",
    "events",
    "examples",
    "files",
    "limits",
    "models",
    "organizations",
    "pushes",
    "secrets",
    "tokens",
    "trainings",
    "versions",
    "webhooks",
]

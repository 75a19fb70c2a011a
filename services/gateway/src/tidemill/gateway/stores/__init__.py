"""The SQL of everything but predictions, which `store` has: one module for each kind of thing."""

from tidemill.gateway.stores import (
    boots,
    discovery,
    events,
    examples,
    files,
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
    "discovery",
    "events",
    "examples",
    "files",
    "models",
    "organizations",
    "pushes",
    "secrets",
    "tokens",
    "trainings",
    "versions",
    "webhooks",
]

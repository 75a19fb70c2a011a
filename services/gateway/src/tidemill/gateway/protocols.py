"""The parts of the gateway that a handler or a serializer can ask for, one protocol for each.

A module names what it needs as one protocol of its own, made of these, and takes `Call[...]` of it. `parts.Parts`
satisfies them all; only main and triggers know it.
"""

from typing import Protocol

from tidemill.gateway.access.callers import CallerCache
from tidemill.gateway.config import Config
from tidemill.runtime.billing import Tariffs
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.objects.store import Objects
from tidemill.security.public_urls import PublicUrls


class HasConfig(Protocol):
    @property
    def config(self) -> Config: ...


class HasSigningKey(Protocol):
    @property
    def signing_key(self) -> bytes: ...


class HasPublicUrls(Protocol):
    @property
    def public_urls(self) -> PublicUrls: ...


class HasDatabase(Protocol):
    @property
    def database(self) -> Database: ...


class HasBus(Protocol):
    @property
    def bus(self) -> Bus: ...


class HasObjects(Protocol):
    @property
    def objects(self) -> Objects: ...


class HasCallers(Protocol):
    @property
    def callers(self) -> CallerCache: ...


class HasTariffs(Protocol):
    @property
    def tariffs(self) -> Tariffs: ...

"""The parts that main wires together: database, bus, caches, limits. Handlers see them by protocols only."""

import msgspec

from tidemill.contracts.ids import new_id
from tidemill.gateway.access.auth import Accounts
from tidemill.gateway.access.door import Door, tokenless_rates
from tidemill.gateway.access.refusals import Refusals
from tidemill.gateway.access.request_urls import RequestUrls
from tidemill.gateway.config import Config
from tidemill.gateway.events.durable import Durables
from tidemill.gateway.events.outsiders import Outsiders
from tidemill.gateway.limits import allowances
from tidemill.gateway.limits.admission import Admission, Crowd
from tidemill.gateway.limits.rates import Limits
from tidemill.gateway.live.feeds import Feeds
from tidemill.gateway.predictions.accept import Acceptor
from tidemill.gateway.predictions.idempotent_acceptor import IdempotentAcceptor
from tidemill.gateway.predictions.versions import Versions
from tidemill.gateway.predictions.waiting import Waiters
from tidemill.gateway.predictions.waiting_room import WaitingRoom
from tidemill.gateway.releases.deployments import Deployments
from tidemill.gateway.serving import Draining
from tidemill.runtime.billing import Tariffs, prices
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database, DedicatedConnection
from tidemill.runtime.objects.store import Objects
from tidemill.runtime.service import parse_setting
from tidemill.security.egress.addresses import parse_networks
from tidemill.security.public_urls import PublicUrls


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    config: Config
    gateway: str  # id of this process; part of the subjects on which it hears the ends of predictions it waits for
    database: Database
    ending: DedicatedConnection  # on which cancels end predictions
    bus: Bus
    durables: Durables
    outsiders: Outsiders
    objects: Objects
    accounts: Accounts
    public_urls: PublicUrls
    request_urls: RequestUrls
    door: Door
    feeds: Feeds
    limits: Limits
    refusals: Refusals
    admission: Admission
    versions: Versions
    deployments: Deployments
    acceptor: Acceptor
    idempotent_acceptor: IdempotentAcceptor
    waiters: Waiters
    waiting_room: WaitingRoom
    draining: Draining
    tariffs: Tariffs

    @property
    def signing_key(self) -> bytes:
        return bytes.fromhex(self.config.signing_key)

    @property
    def api_url(self) -> str:
        """Return the base URL of the API where there is no request, without a trailing slash; see `Call.api_url`."""
        return f"{self.public_urls.first}/v1"


def assemble(config: Config) -> Parts:
    """Build all parts; start and connect nothing. Raise StartError for settings that cannot be parsed."""
    gateway = new_id()
    database = Database(config.database_url, pool_size=8)
    bus = Bus(config.nats_url, "gateway", retention_s=config.retention_s, events_bytes=config.events_bytes)
    accounts = Accounts(database, config.token_cache_s, allowances.default(config))
    proxies = parse_setting("TIDEMILL_TRUSTED_PROXIES", parse_networks, config.trusted_proxies)
    public_urls = parse_setting("TIDEMILL_PUBLIC_URLS", PublicUrls, config.public_urls)
    versions = Versions(database, config.version_cache_s)
    acceptor = Acceptor(database.dedicated_connection(), bus, gateway, config.accept_timeout_s)
    return Parts(
        config=config,
        gateway=gateway,
        database=database,
        ending=database.dedicated_connection(),
        bus=bus,
        durables=Durables(bus),
        outsiders=Outsiders(bus, config.event_connections),
        objects=Objects(config),
        accounts=accounts,
        public_urls=public_urls,
        request_urls=RequestUrls(public_urls, proxies),
        door=Door(accounts, proxies, tokenless_rates(config)),
        feeds=Feeds(bus, database),
        limits=Limits(database.dedicated_connection()),
        refusals=Refusals(),
        admission=Admission(Crowd(config.queue_age_limit_s, config.queue_waiting_limit)),
        versions=versions,
        deployments=Deployments(database, versions, config.version_cache_s, acceptor.is_warm),
        acceptor=acceptor,
        idempotent_acceptor=IdempotentAcceptor(
            database, database.dedicated_connection(), acceptor, config.accept_timeout_s
        ),
        waiters=Waiters(database, config.wait_poll_s),
        waiting_room=WaitingRoom(database, bus),
        draining=Draining(),
        tariffs=Tariffs(database, parse_setting("TIDEMILL_PRICES", prices, config.prices)),
    )

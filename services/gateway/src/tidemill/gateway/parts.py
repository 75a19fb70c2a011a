"""The parts that main wires together: database, bus, caches, limits. Handlers see them by protocols only."""

import msgspec

from tidemill.contracts.ids import new_id
from tidemill.gateway import stores
from tidemill.gateway.access.authenticator import Authenticator, tokenless_rates
from tidemill.gateway.access.callers import CallerCache
from tidemill.gateway.access.refusal_cache import RefusalCache
from tidemill.gateway.config import Config
from tidemill.gateway.events.durable_consumers import DurableConsumers
from tidemill.gateway.events.external_subscribers import ExternalSubscribers
from tidemill.gateway.limits import allowances
from tidemill.gateway.limits.admission import AdmissionControl, QueueLimits
from tidemill.gateway.limits.rates import RateLimiter
from tidemill.gateway.live.feeds import Feeds
from tidemill.gateway.predictions.accept import Acceptor
from tidemill.gateway.predictions.idempotent_acceptor import IdempotentAcceptor
from tidemill.gateway.predictions.queue_status import QueueStatus
from tidemill.gateway.predictions.versions import Versions
from tidemill.gateway.predictions.waiting import Waiters
from tidemill.gateway.releases.deployments import DeploymentResolver
from tidemill.gateway.request_urls import RequestUrls
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
    gateway: str  # id of this process; part of the subject on which it receives ends of predictions
    database: Database
    ending_connection: DedicatedConnection  # on which cancels end predictions
    bus: Bus
    durable_consumers: DurableConsumers
    external_subscribers: ExternalSubscribers
    objects: Objects
    callers: CallerCache
    public_urls: PublicUrls
    request_urls: RequestUrls
    authenticator: Authenticator
    feeds: Feeds
    rate_limiter: RateLimiter
    refusal_cache: RefusalCache
    admission: AdmissionControl
    versions: Versions
    deployments: DeploymentResolver
    acceptor: Acceptor
    idempotent_acceptor: IdempotentAcceptor
    waiters: Waiters
    queue_status: QueueStatus
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
    callers = CallerCache(database, config.token_cache_s, allowances.default_allowances(config))
    proxies = parse_setting("TIDEMILL_TRUSTED_PROXIES", parse_networks, config.trusted_proxies)
    public_urls = parse_setting("TIDEMILL_PUBLIC_URLS", PublicUrls, config.public_urls)
    versions = Versions(database, config.version_cache_s)
    acceptor = Acceptor(database.dedicated_connection(), bus, gateway, config.accept_timeout_s)
    return Parts(
        config=config,
        gateway=gateway,
        database=database,
        ending_connection=database.dedicated_connection(),
        bus=bus,
        durable_consumers=DurableConsumers(bus),
        external_subscribers=ExternalSubscribers(bus, config.event_connections),
        objects=Objects(config),
        callers=callers,
        public_urls=public_urls,
        request_urls=RequestUrls(public_urls, proxies),
        authenticator=Authenticator(callers, proxies, tokenless_rates(config)),
        feeds=Feeds(bus, database),
        rate_limiter=RateLimiter(database.dedicated_connection(), stores.allowances.settle),
        refusal_cache=RefusalCache(),
        admission=AdmissionControl(QueueLimits(config.queue_age_limit_s, config.queue_waiting_limit)),
        versions=versions,
        deployments=DeploymentResolver(database, versions, config.version_cache_s, acceptor.is_warm),
        acceptor=acceptor,
        idempotent_acceptor=IdempotentAcceptor(
            database, database.dedicated_connection(), acceptor, config.accept_timeout_s
        ),
        waiters=Waiters(database, config.wait_poll_s),
        queue_status=QueueStatus(database, bus),
        draining=Draining(),
        tariffs=Tariffs(database, parse_setting("TIDEMILL_PRICES", prices, config.prices)),
    )

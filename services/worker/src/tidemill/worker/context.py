"""Who this worker is, and what it reaches: settings that were read, the servers, the client for user URLs."""

from pathlib import Path

import msgspec

from tidemill.contracts.ids import new_id
from tidemill.runtime.bus import Bus
from tidemill.runtime.db import Database
from tidemill.runtime.objects.store import Objects
from tidemill.runtime.platform import Platform
from tidemill.runtime.service import StartError, parse_setting
from tidemill.security.egress.client import EgressClient
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.security.public_urls import PublicUrls
from tidemill.worker.config import Config
from tidemill.worker.instances.confinement import Policy, required_layers


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Who this worker is, its settings, and the servers that it reaches. `key` signs delivery URLs."""

    worker: str
    home: Path
    key: bytes
    config: Config
    public_urls: PublicUrls
    policy: Policy
    database: Database
    bus: Bus
    objects: Objects
    platform: Platform
    egress: EgressClient


def read_context(config: Config) -> Context:
    """Connect to nothing yet. Raise StartError for settings that cannot be read."""
    home = Path(config.worker_home)
    if not home.is_absolute():
        raise StartError(f"TIDEMILL_WORKER_HOME must be an absolute path, not {config.worker_home!r}")
    required = parse_setting("TIDEMILL_SANDBOX", required_layers, config.sandbox)
    allow = parse_setting("TIDEMILL_EGRESS_ALLOW", AllowList.parse, config.egress_allow)
    database = Database(config.database_url)
    servers = (config.database_url, config.nats_url, config.s3_url)
    platform = Platform.of(servers, config.public_urls, database)
    return Context(
        worker=new_id(),
        home=home,
        key=bytes.fromhex(config.signing_key),
        config=config,
        public_urls=parse_setting("TIDEMILL_PUBLIC_URLS", PublicUrls, config.public_urls),
        policy=Policy(required=required, network=config.model_network),
        database=database,
        bus=Bus(config.nats_url, "worker", retention_s=config.retention_s, events_bytes=config.events_bytes),
        objects=Objects(config),
        platform=platform,
        egress=EgressClient(EgressPolicy(allow=allow, reserved=platform.reserved, allow_http=True)),
    )

"""Settings that must be the same for all services of an installation: the first service to start writes them to the
database, and a later one that differs does not start.

`SETTING_SCOPES` decides for every setting whether it is shared; a test fails while one is missing. Of a key the
database holds a fingerprint, never the key.
"""

import hashlib
import hmac
from typing import Final, NamedTuple

import msgspec

from tidemill.runtime.config import PREFIX, Common
from tidemill.runtime.db import Database, retry_transient
from tidemill.runtime.service import StartError

FINGERPRINT_OF: Final = b"tidemill: which key is this?"
FINGERPRINT_CHARS: Final = 32  # 128 bits of the HMAC
WRITE: Final = """
INSERT INTO agreed_setting (name, value, is_key, set_by) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING"""
CHANGE: Final = """
UPDATE agreed_setting SET value = $2, set_by = $3, set_at = now() WHERE name = $1 AND NOT is_key AND value <> $2"""
READ: Final = "SELECT value, set_by, set_at FROM agreed_setting WHERE name = $1"


class SharedSetting(NamedTuple):
    why: str  # what goes wrong if two services differ
    is_key: bool = False  # if so, only a fingerprint is stored, and no start changes it


class LocalSetting(NamedTuple):
    why: str


SettingScope = SharedSetting | LocalSetting


def _each(names: str, scope: SettingScope) -> dict[str, SettingScope]:
    return dict.fromkeys(names.split(), scope)


SETTING_SCOPES: Final[dict[str, SettingScope]] = {
    "signing_key": SharedSetting("URLs and secrets made with one key are refused under another", is_key=True),
    "nats_callout_seed": SharedSetting("NATS believes one issuer, and any gateway may be asked", is_key=True),
    "prices": SharedSetting("a prediction would be announced at one price and billed at another"),
    "retention_s": SharedSetting("streams and the janitor would forget at different times"),
    "events_bytes": SharedSetting("every service would bound the stream of events anew"),
    "s3_bucket": SharedSetting("files that one service stores another would not find"),
    "time_limit_s": SharedSetting("the scheduler would end runs that a worker still allows"),
    **_each(
        "creates_per_minute requests_per_minute open_predictions waiting_pushes event_connections",
        SharedSetting("gateways count an account's use together, and would refuse at different numbers"),
    ),
    **_each(
        "database_url nats_url s3_url s3_region s3_access_key s3_secret_key",
        LocalSetting("one server may be reached by several names and with several credentials"),
    ),
    **_each(
        "host port listen_fd listen_on_s ops_port drain_s log_level log_format otlp_url trace_ratio worker_home",
        LocalSetting("they belong to one process and its machine"),
    ),
    "adopt_settings": LocalSetting("controls how this list is used"),
    "public_urls": LocalSetting("gateways may stand at different addresses; every one serves what the others name"),
    **_each(
        "file_output cors_origins nats_public_url trusted_proxies anonymous_per_minute signed_per_minute "
        "event_check_s token_cache_s version_cache_s accept_timeout_s wait_poll_s queue_age_limit_s "
        "queue_waiting_limit deployment_rest_s",
        LocalSetting("how one gateway answers; what it keeps is the same"),
    ),
    **_each(
        "idle_stop_s max_instances_per_queue scale_factor late_after_s min_resident_s silent_after_s settle_s tick_s "
        "command_timeout_s boot_failures_limit boot_failures_limit_s boot_backoff_s boot_backoff_limit_s sweep_s "
        "lease_grace_s republish_after_s republish_limit_s warm_s",
        LocalSetting("one scheduler decides at a time; its settings count"),
    ),
    **_each(
        "lease_s instances kill_after_s boot_timeout_s health_every_s instance_disk_bytes save_every_s "
        "cache_limit_bytes environment_limit_bytes builds import_limit_s sandbox model_network "
        "model_network_allow egress_allow",
        LocalSetting("what one machine offers and allows"),
    ),
    **_each(
        "timeout_s look_every_s retry_scale endpoint_tries account_tries tries progress_timeout_s throttle_s "
        "disable_after_s log_kept_s upkeep_every_s",
        LocalSetting("how one dispatcher delivers; deliveries wait in the database for any"),
    ),
    **_each(
        "every_s events_every_s orphans_every_s orphan_age_s uploading_limit_s",
        LocalSetting("one janitor cleans at a time; its settings count"),
    ),
}


def fingerprint(key: str) -> str:
    """Return a text that differs between keys and reveals none."""
    return hmac.new(key.encode(), FINGERPRINT_OF, hashlib.sha256).hexdigest()[:FINGERPRINT_CHARS]


def shared_values(config: Common) -> dict[str, str]:
    """Return the shared settings of a service as they are stored. A key that is not set is left out."""
    values: dict[str, str] = {}
    for field in msgspec.structs.fields(config):
        scope, value = SETTING_SCOPES.get(field.name), getattr(config, field.name)
        if isinstance(scope, SharedSetting) and not (scope.is_key and not value):
            values[field.name] = fingerprint(value) if scope.is_key else _normal(value)
    return values


def _normal(value: object) -> str:
    """Return the same text for lists that differ only in order and spaces."""
    return ",".join(sorted(part.strip() for part in str(value).split(",") if part.strip()))


async def check_shared_settings(database: Database, service: str, config: Common) -> None:
    """Store the shared settings, or compare them: a step of every service's start. Raise StartError if one differs."""
    await retry_transient("settings", lambda: _check(database, service, config))


async def _check(database: Database, service: str, config: Common) -> None:
    async with database.transaction() as connection:
        for name, value in sorted(shared_values(config).items()):
            scope = SETTING_SCOPES[name]
            assert isinstance(scope, SharedSetting)
            await connection.execute(WRITE, name, value, scope.is_key, service)
            if config.adopt_settings:
                await connection.execute(CHANGE, name, value, service)
            row = await connection.fetchrow(READ, name)
            if row is not None and row["value"] != value:
                since = f"since {row['set_at']:%Y-%m-%d %H:%M} UTC, set by the {row['set_by']}"
                raise StartError(_difference(name, scope, value, row["value"], since))


def _difference(name: str, scope: SharedSetting, mine: str, theirs: str, since: str) -> str:
    variable = PREFIX + name.upper()
    if scope.is_key:
        return (
            f"{variable} is not the key of the installation that this database belongs to ({since}; fingerprints "
            f"{mine[:8]} and {theirs[:8]}): {scope.why}. Start with the key that its other services have; the env "
            "file of the stack that made it sets it"
        )
    return (
        f"{variable} is {mine!r} here and {theirs!r} in the installation that this database belongs to ({since}): "
        f"{scope.why}. Give all services the same; to change it, stop them all, "
        f"`tidemill settings forget {name}`, and start them with the new value"
    )

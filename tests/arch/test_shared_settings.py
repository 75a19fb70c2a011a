"""Every setting of every service is decided: all services must be told alike, or they may differ."""

import importlib

import msgspec
import pytest

from tidemill.runtime.shared_settings import SETTING_SCOPES, LocalSetting, SharedSetting, fingerprint, shared_values

SERVICES = ("gateway", "scheduler", "worker", "webhook_dispatcher", "storage_janitor")
CONFIGS = {service: importlib.import_module(f"tidemill.{service}.config").Config for service in SERVICES}
KEY = "ab" * 32


def fields_of(config):
    return {field.name: field for field in msgspec.structs.fields(config)}


def config_of(service, **changes):
    """A config of the service with what it requires."""
    required = {name: "x" for name, field in fields_of(CONFIGS[service]).items() if field.required}
    if "signing_key" in required:
        required["signing_key"] = KEY
    return CONFIGS[service](**required | changes)


def test_every_setting_is_decided():
    settings = {name for config in CONFIGS.values() for name in fields_of(config)}
    assert settings - SETTING_SCOPES.keys() == set(), (
        "say in SETTING_SCOPES whether all services must be told these alike"
    )
    assert SETTING_SCOPES.keys() - settings == set(), "no service has these"
    assert all(decision.why for decision in SETTING_SCOPES.values())


def test_settings_that_several_services_share_are_no_oversight():
    """What more than one service reads agrees, unless a reason of its own says why it need not."""
    shared = {
        name
        for name in SETTING_SCOPES
        if sum(name in fields_of(config) for config in CONFIGS.values()) > 1
        and isinstance(SETTING_SCOPES[name], SharedSetting)
    }
    assert shared >= {"signing_key", "prices", "retention_s", "s3_bucket", "time_limit_s"}


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_written_down_of_a_service(service):
    values = shared_values(config_of(service))
    assert values["retention_s"] == "3600"
    assert all(isinstance(SETTING_SCOPES[name], SharedSetting) for name in values)
    assert not any(isinstance(SETTING_SCOPES[name], LocalSetting) for name in values)
    assert "nats_callout_seed" not in values  # a key that is not set is nobody's


def test_of_a_key_only_a_fingerprint_is_kept():
    values = shared_values(config_of("gateway", nats_callout_seed="SAX"))
    assert values["signing_key"] == fingerprint(KEY)
    assert values["nats_callout_seed"] == fingerprint("SAX") != fingerprint("SAY")
    assert KEY not in str(values)
    assert "SAX" not in str(values)


def test_prices_in_another_order_are_the_same():
    one, other = (
        shared_values(config_of("worker", prices=text))["prices"] for text in ("cpu=1, gpu-t4=2", "gpu-t4=2,cpu=1,")
    )
    assert one == other != shared_values(config_of("worker", prices="cpu=1"))["prices"]

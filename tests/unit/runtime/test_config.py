"""Configuration from variables: what cannot be meant stops the start, with the variable's name."""

import pytest

from tidemill.runtime.config import Common, ConfigError, ObjectStoreConfig, load

COMMON = {"TIDEMILL_DATABASE_URL": "postgresql://", "TIDEMILL_NATS_URL": "nats://"}
S3 = {"TIDEMILL_S3_URL": "http://", "TIDEMILL_S3_ACCESS_KEY": "a", "TIDEMILL_S3_SECRET_KEY": "b"}
KEY = "0fA9" * 16


def test_variables_become_fields_and_the_rest_its_defaults():
    config = load(Common, {**COMMON, "TIDEMILL_DRAIN_S": "2.5", "TIDEMILL_OPS_PORT": "0", "OTHER": "x"})
    assert (config.drain_s, config.ops_port, config.retention_s) == (2.5, 0, 3600)


def test_one_that_is_missing_is_named():
    with pytest.raises(ConfigError, match=r"^TIDEMILL_NATS_URL is not set$"):
        load(Common, {"TIDEMILL_DATABASE_URL": "postgresql://"})


@pytest.mark.parametrize("text", ["", "soon", "-1", "-0.001", "nan", "inf", "-inf"])
def test_a_number_is_finite_and_not_negative(text):
    with pytest.raises(ConfigError, match=r"^TIDEMILL_DRAIN_S cannot be read: "):
        load(Common, {**COMMON, "TIDEMILL_DRAIN_S": text})


def test_a_setting_of_another_kind_is_told_of_in_words():
    with pytest.raises(ConfigError, match=r"^TIDEMILL_DRAIN_S cannot be read: it must be a number, not a text$"):
        load(Common, {**COMMON, "TIDEMILL_DRAIN_S": "soon"})


def test_a_signing_key_of_256_bits_is_taken():
    assert load(ObjectStoreConfig, {**COMMON, **S3, "TIDEMILL_SIGNING_KEY": KEY}).signing_key == KEY


@pytest.mark.parametrize("key", ["", "00", KEY[:-1], KEY + "0", KEY + "\n", "z" * 64])
def test_a_signing_key_that_is_none_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError, match=r"^TIDEMILL_SIGNING_KEY cannot be read: ") as refusal:
        load(ObjectStoreConfig, {**COMMON, **S3, "TIDEMILL_SIGNING_KEY": key})
    assert len(key) < 4 or key not in str(refusal.value)


def test_a_setting_is_taken_under_its_old_name_too_unless_it_has_the_new_one():
    given = {**COMMON, **S3, "TIDEMILL_SIGNING_KEY": KEY, "TIDEMILL_PUBLIC_URL": "https://old.example"}
    assert load(ObjectStoreConfig, given).public_urls == "https://old.example"
    assert (
        load(ObjectStoreConfig, {**given, "TIDEMILL_PUBLIC_URLS": "https://new.example"}).public_urls
        == "https://new.example"
    )

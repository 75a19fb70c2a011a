"""Shared settings are compared with those that the first service wrote to the database."""

import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import msgspec
import pytest

from tidemill.runtime.db import Database
from tidemill.runtime.service import StartError
from tidemill.runtime.shared_settings import check_shared_settings
from tidemill.testing.servers import configured, migrated
from tidemill.webhook_dispatcher.config import Config
from tidemill.webhook_dispatcher.main import build

OTHER_KEY = "cd" * 32


@pytest.fixture(scope="module")
async def postgres(tmp_path_factory):
    async with migrated(tmp_path_factory.mktemp("agreement") / "postgres") as server:
        yield server


@pytest.fixture
async def database(postgres):
    async with Database(postgres.url) as database:
        await database.execute("DELETE FROM agreed_setting")
        yield database


@pytest.fixture
def config(postgres):
    return configured(Config, postgres, adopt_settings=False)


@pytest.fixture
def command(postgres):
    def run(*words):
        program = Path(sys.executable).with_name("tidemill")
        env = {**os.environ, "TIDEMILL_DATABASE_URL": postgres.url}
        return subprocess.run([program, *words], env=env, capture_output=True, text=True, timeout=120, check=False)

    return run


async def test_a_service_with_another_signing_key_refuses_to_start_and_says_what_to_do(database, config):
    """As a second stack on the same servers, which made a key of its own."""
    await check_shared_settings(database, "gateway", config)
    for adopt in (False, True):  # no start changes a key
        other = msgspec.structs.replace(config, signing_key=OTHER_KEY, adopt_settings=adopt)
        with pytest.raises(StartError, match="TIDEMILL_SIGNING_KEY is not the key of the installation") as refused:
            await (await build(other)).run()
        assert "Start with the key that its other services have" in str(refused.value)
        assert OTHER_KEY not in str(refused.value)
    kept = str([tuple(row) for row in await database.fetch("SELECT * FROM agreed_setting")])
    assert config.signing_key not in kept
    await check_shared_settings(database, "webhook-dispatcher", config)


@pytest.mark.parametrize(("name", "value"), [("prices", "cpu=2"), ("retention_s", 60)])
async def test_a_service_that_was_told_something_else_refuses_to_start(database, config, name, value):
    await check_shared_settings(database, "gateway", config)
    other = msgspec.structs.replace(config, **{name: value})
    with pytest.raises(StartError, match=f"TIDEMILL_{name.upper()} is '{value}' here and .*set by the gateway.*forget"):
        await check_shared_settings(database, "worker", other)
    await check_shared_settings(database, "worker", config)


async def test_who_starts_all_services_together_may_change_a_setting(database, config):
    await check_shared_settings(database, "gateway", config)
    other = msgspec.structs.replace(config, prices="cpu=2", adopt_settings=True)
    await check_shared_settings(database, "gateway", other)
    await check_shared_settings(database, "worker", other)
    with pytest.raises(StartError, match="TIDEMILL_PRICES is '' here and 'cpu=2'"):
        await check_shared_settings(database, "scheduler", config)


async def test_services_that_start_at_the_same_moment_agree_on_one(database, postgres, config):
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("BEGIN; INSERT INTO agreed_setting VALUES ('prices', 'cpu=7', false, 'worker')")
    try:
        waiting = Database(postgres.url)
        async with waiting:
            starts = check_shared_settings(waiting, "gateway", config)
            await connection.execute("COMMIT")
            with pytest.raises(StartError, match="and 'cpu=7' in the installation"):
                await starts
    finally:
        await connection.close()


async def test_an_operator_sees_them_and_can_have_one_forgotten(database, config, command):
    await check_shared_settings(database, "gateway", config)
    listed = command("settings", "list")
    assert "retention_s          '3600'  (the gateway, 2" in listed.stdout
    assert "signing_key          fingerprint " in listed.stdout
    assert command("settings", "forget", "signing_key").returncode == 1
    assert "no service has set sweep_s" in command("settings", "forget", "sweep_s").stderr
    assert command("settings", "forget", "prices").returncode == 0
    await check_shared_settings(database, "gateway", msgspec.structs.replace(config, prices="cpu=2"))
    assert command("settings", "forget", "signing_key", "--key").returncode == 0
    await check_shared_settings(
        database, "gateway", msgspec.structs.replace(config, prices="cpu=2", signing_key=OTHER_KEY)
    )

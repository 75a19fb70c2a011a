"""What an instance is given, from the rows; and what the operator is told of workers and says of models."""

import asyncio
import json
import socket

import msgspec
import pytest
from typer.testing import CliRunner

from tidemill.cli.errors import CommandError
from tidemill.cli.main import app
from tidemill.contracts.ids import new_id
from tidemill.contracts.worker_report import WorkerReport
from tidemill.hosting.child.egress_proxies import EgressProxies
from tidemill.hosting.child.failures import BootFailed
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.model.sandbox.settings import LAYERS, REQUIRED
from tidemill.runtime.platform import Platform
from tidemill.security import secret_encryption
from tidemill.security.egress.policy import AllowList
from tidemill.testing import rows
from tidemill.worker.fleet.report import Reporter, ReportSettings, available_layers
from tidemill.worker.instances.confinement import Policy
from tidemill.worker.instances.privileges import PrivilegeReader
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.run_table import RunTable

KEY = b"\x5a" * 32
CONFIG = ModelConfig(entry="predict.py:Predictor", network=True)


@pytest.fixture
async def queue(workshop):
    """Of a version of the workshop's model."""
    return await rows.version(workshop.database, workshop.model_id, id="v")


@pytest.fixture
def command(worker_servers, monkeypatch):
    monkeypatch.setenv("TIDEMILL_DATABASE_URL", worker_servers.url)

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
        if isinstance(result.exception, CommandError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


async def keep(workshop, name, value, key=KEY):
    kept = secret_encryption.encrypt(key, secret_encryption.associated_data(workshop.model_id, name), value)
    await rows.insert(workshop.database, "model_secret", model_id=workshop.model_id, name=name, sealed=kept)


async def test_secrets_trust_and_network(workshop, queue, command):
    privileges = PrivilegeReader(workshop.database, KEY, Policy(network="declared"))
    given = await privileges.read(queue, CONFIG)
    assert (given.secrets, given.confined.required, given.confined.way_out) == ({}, REQUIRED, True)
    await keep(workshop, "B_KEY", "correct horse")
    await keep(workshop, "A_KEY", "battery staple")
    assert "no longer" not in await command("model", "trust", f"{workshop.account_id}/m")
    given = await privileges.read(queue, CONFIG)
    assert given.secrets == {"A_KEY": "battery staple", "B_KEY": "correct horse"}
    assert given.confined.required == ()
    assert (given.about.model, given.about.version) == (f"{workshop.account_id}/m", "v")
    assert (given.about.trusted, given.about.network) == (True, True)
    assert "staple" not in repr(given)
    foreign = msgspec.structs.replace(CONFIG, author=new_id())
    trained = await privileges.read(queue, foreign)
    assert (trained.secrets, trained.confined.required, trained.about.trusted) == ({}, REQUIRED, False)
    own = msgspec.structs.replace(CONFIG, author=workshop.account_id)
    assert (await privileges.read(queue, own)).secrets == given.secrets
    await command("model", "trust", "--off", f"{workshop.account_id}/m")
    assert (await privileges.read(queue, CONFIG)).confined.required == REQUIRED
    with pytest.raises(CommandError, match="there is no model"):
        await command("model", "trust", "nobody/nothing")


async def test_secrets_under_another_key_fail_the_boot_with_the_reason(workshop, queue):
    await keep(workshop, "A_KEY", "battery staple", b"\x01" * 32)
    with pytest.raises(BootFailed, match="TIDEMILL_SIGNING_KEY is not the one"):
        await PrivilegeReader(workshop.database, KEY, Policy()).read(queue, CONFIG)
    with pytest.raises(BootFailed, match="does not exist"):
        await PrivilegeReader(workshop.database, KEY, Policy()).read(new_id(), CONFIG)


async def test_workers_report_and_operators_read_it(workshop, command):
    assert "has not reported yet" in await command("worker", "status")
    table = RunTable(workshop.worker)
    instance = Instance(new_id(), "q", 0.0)
    instance.error, instance.gpus = "it broke\nbadly", ("GPU-1",)
    instance.boot = json.dumps({"fetch": 0.25, "total": 1.5})
    table.queue("q").instances[instance.id] = instance
    settings = ReportSettings(home=workshop.home, capacity=4, cache_limit_bytes=50 * 1024**3)
    (workshop.home / "blobs").mkdir()
    (workshop.home / "blobs" / "a").write_bytes(bytes(3 << 20))
    reporter = Reporter(table, workshop.database, workshop.bundles, Policy(), settings)
    await reporter.probe_layers()
    running = asyncio.create_task(reporter.run())
    async with asyncio.timeout(120):
        while "instances  1 of 4" not in (shown := await command("worker", "status")):
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for words in ("sandbox    ", "syscalls", "3 MiB of 50.0 GiB", "GPU GPU-1", "boot: fetch 250 ms", "it broke"):
        assert words in shown, shown
    assert "badly" not in shown
    everybody = json.loads(await command("worker", "status", "--json"))
    (found,) = [each for each in everybody if each["id"] == workshop.worker]
    report = msgspec.convert(found["report"], WorkerReport)
    assert [layer.name for layer in report.layers] == list(LAYERS)
    assert {layer.name for layer in report.layers if layer.required} == set(REQUIRED)
    await workshop.database.execute('UPDATE worker SET report = \'{"of": "another release"}\'')
    assert "has not reported yet" in await command("worker", "status")
    await workshop.database.execute("UPDATE worker SET lease_until = now()")
    assert await command("worker", "status") == "No worker is running.\n"


async def test_where_not_even_the_attempt_works_every_layer_is_missing(tmp_path, monkeypatch):
    async def fails(*_args):
        raise OSError("no such thing here")

    monkeypatch.setattr("tidemill.worker.fleet.report.probe_layers", fails)
    assert [(layer.on, layer.detail) for layer in await available_layers(tmp_path)] == [
        (False, "no such thing here")
    ] * 7


async def test_the_platforms_own_servers_are_known_by_name_and_address():
    platform = Platform(["postgresql://me:secret@localhost:5432/db", "nats://127.0.0.1:4222,nats://[::1]:4222", "bad"])
    assert platform.names >= {"localhost", "127.0.0.1", "::1", "bad", socket.gethostname().lower()}
    await platform.look_up()
    assert "127.0.0.1/32" in map(str, platform.networks)


@pytest.mark.parametrize("what", ["file", "unix", "not listening", "second"])
async def test_what_is_no_listening_socket_of_a_child_is_refused_and_closed(tmp_path, what):
    ways = EgressProxies(Platform([]), AllowList())
    made = {
        "file": lambda: (tmp_path / "x").open("w"),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "not listening": socket.socket,
        "second": lambda: socket.create_server(("127.0.0.1", 0)),
    }
    if what == "second":
        ways.open("i", None, socket.create_server(("127.0.0.1", 0)).detach())
    with made[what]() as held, pytest.raises(ValueError, match="it sent"):
        ways.open("i", None, socket.dup(held.fileno()))
    await ways.close("i")
    await ways.close("never opened")
    await ways.close_all()

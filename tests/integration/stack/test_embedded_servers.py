import asyncio
import contextlib
import gc
import io
import os
import signal
import socket
import subprocess
from pathlib import Path

import aiohttp
import asyncpg
import nats
import psutil
import pytest
from minio import Minio
from minio.error import S3Error

from tidemill.stack import Durability, NatsServer, ObjectServer, PostgresServer, ProcessStartError
from tidemill.stack.command_line import status
from tidemill.stack.home.snapshot import UnitStatus
from tidemill.stack.home.state_file import StateFile
from tidemill.stack.servers import cluster as cluster_module
from tidemill.testing.processes import runs
from tidemill.testing.servers import UNSYNCED, discard, started

KINDS = [NatsServer, PostgresServer, ObjectServer]


@pytest.fixture(params=KINDS, ids=[kind.__name__ for kind in KINDS])
async def server(request, tmp_path):
    async with started(request.param(tmp_path / "server")) as server:
        yield server


@pytest.fixture
async def postgres(tmp_path):
    async with started(PostgresServer(tmp_path / "server", durability=UNSYNCED)) as server:
        yield server


async def store(server, value):
    """Leaves a value in the server that must be there after a restart."""
    if isinstance(server, NatsServer):
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
        await client.jetstream().publish("kept", value)
        await client.close()
    elif isinstance(server, PostgresServer):
        connection = await asyncpg.connect(server.url)
        await connection.execute("CREATE TABLE kept (value bytea)")
        await connection.execute("INSERT INTO kept VALUES ($1)", value)
        await connection.close()
    else:
        await asyncio.to_thread(_put, server, value)


async def load(server):
    if isinstance(server, NatsServer):
        client = await nats.connect(server.url)
        message = await client.jetstream().get_msg("KEPT", 1)
        await client.close()
        return message.data
    if isinstance(server, PostgresServer):
        connection = await asyncpg.connect(server.url)
        value = await connection.fetchval("SELECT value FROM kept")
        await connection.close()
        return value
    return await asyncio.to_thread(_get, server)


def s3(server, secret=None):
    url = server.url.removeprefix("http://")
    return Minio(url, server.access_key, secret or server.secret_key, secure=False, region="us-east-1")


def _put(server, value):
    s3(server).put_object(server.bucket, "kept", io.BytesIO(value), len(value))


def _get(server):
    reply = s3(server).get_object(server.bucket, "kept")
    try:
        return reply.read()
    finally:
        reply.close()
        reply.release_conn()


async def test_what_was_stored_survives_kill_and_restart(server):
    await store(server, b"precious")
    url, before = server.url, server.process.pids()
    await server.kill()
    assert server.process.pids() == []
    assert not any(runs(pid) for pid in before)
    await server.start()
    assert server.url == url
    assert await load(server) == b"precious"
    await server.stop()
    await server.start()
    assert await load(server) == b"precious"


async def test_a_process_killed_from_outside_is_replaced(server):
    url, pid = server.url, server.process.pids()[0]
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(120):
        while server.process.alive:
            await asyncio.sleep(0.01)
    await server.start()
    assert server.url == url
    assert server.process.pids()[0] != pid


@pytest.mark.parametrize("kind", KINDS)
async def test_orphans_of_a_killed_supervisor_are_ended(kind, tmp_path):
    predecessor = kind(tmp_path / "server")
    await predecessor.start()
    url, process = predecessor.url, predecessor.process
    left = process.pids()
    # What is left of it then is the process alone: the ports are let go.
    del predecessor
    gc.collect()
    successor = kind(tmp_path / "server")
    await successor.start()
    try:
        assert successor.url == url
        assert not set(left) & set(successor.process.pids())
        assert not process.alive
    finally:
        await discard(successor)


async def test_a_lost_port_is_replaced(server):
    await server.stop()
    port = server.port
    with socket.create_server(("127.0.0.1", port)):
        await server.start()
        assert server.port != port


async def test_a_program_that_fails_shows_its_log(tmp_path, monkeypatch):
    broken = tmp_path / "nats-server"
    broken.write_text("#!/bin/sh\necho it is broken\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr("tidemill.stack.servers.programs.program", lambda name: broken)
    with pytest.raises(ProcessStartError, match=r"(?s)NATS did not start: it exited with status 3.*\| it is broken"):
        await NatsServer(tmp_path / "server").start()


async def test_nats_refuses_strangers(tmp_path):
    server = NatsServer(tmp_path / "server")
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert b'"auth_required":true' in await reader.readline()
        writer.write(b'CONNECT {"user":"tidemill","pass":"wrong"}\r\nPING\r\n')
        assert b"Authorization Violation" in await reader.readline()
        writer.close()
    finally:
        await server.kill()


async def test_the_object_store_refuses_strangers_and_listens_on_loopback_alone(tmp_path):
    server = ObjectServer(tmp_path / "server")
    await server.start()
    try:
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            await asyncio.to_thread(s3(server, "wrong" * 8).put_object, server.bucket, "x", io.BytesIO(), 0)
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}/{server.bucket}") as reply:
            assert reply.status == 403
        listening = [c for c in psutil.Process(server.process.pids()[0]).net_connections() if c.status == "LISTEN"]
        assert listening
        assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
        assert all(connection.laddr.port < 32_768 for connection in listening)
    finally:
        await server.kill()


async def test_an_idle_object_store_dials_nobody_and_logs_nothing(tmp_path):
    server = ObjectServer(tmp_path / "server")
    await server.start()
    try:
        said = server.log.stat().st_size
        await asyncio.sleep(6)  # its plugin worker dialled an admin server that was not there every 5 s
        added = server.log.read_text()[said:].splitlines()
        assert [line for line in added if line[:1] in "WEF"] == []
    finally:
        await server.kill()


async def test_two_of_a_kind_run_side_by_side(tmp_path):
    servers = [ObjectServer(tmp_path / name) for name in ("one", "two")]
    await asyncio.gather(*(server.start() for server in servers))
    assert servers[0].url != servers[1].url
    await asyncio.gather(*(server.kill() for server in servers))


async def test_postgres_gives_the_services_no_superuser(postgres):
    connection = await asyncpg.connect(postgres.url)
    try:
        assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        assert await connection.fetchval("SELECT rolcreatedb FROM pg_roles WHERE rolname = current_user") is True
        assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
        await connection.execute("CREATE TABLE may_create (id uuid DEFAULT uuidv7())")
    finally:
        await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.url.replace(postgres.password, "wrong"))


@pytest.mark.parametrize("on", [True, False])
async def test_durability_is_what_was_asked_for(tmp_path, on):
    server = PostgresServer(tmp_path / "server", durability=Durability(fsync=on, synchronous_commit=on))
    await server.start()
    try:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SHOW fsync") == ("on" if on else "off")
        assert await connection.fetchval("SHOW synchronous_commit") == ("on" if on else "off")
        await connection.close()
    finally:
        await server.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's data stay in the directory")
async def test_data_of_a_closed_directory_go_where_the_account_reaches_them(tmp_path):
    directory = tmp_path / "closed"
    directory.mkdir(mode=0o700)
    server = PostgresServer(directory)
    await server.start()
    outside = StateFile(directory / "state.json").text("outside")
    assert outside is not None
    assert Path(outside, "pgdata").exists()
    assert psutil.Process(server.process.pids()[0]).username() == "nobody"
    await server.remove()
    assert not Path(outside).exists()


async def test_an_interrupted_initdb_is_repeated(tmp_path, monkeypatch):
    server = PostgresServer(tmp_path / "server")

    def interrupted(place, fresh, password_file, log):
        fresh.mkdir()
        (fresh / "half").write_text("made")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cluster_module, "_run_initdb", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cluster_module.ensure(
                cluster_module.ClusterLocation(tmp_path, Path(), None), superuser_password="x", log=tmp_path / "log"
            )
    assert not (tmp_path / "pgdata").exists()
    assert not (tmp_path / "password.new").exists()
    await server.start()
    await server.remove()


async def test_a_cluster_of_another_release_is_named(postgres, tmp_path):
    await postgres.stop()
    outside = StateFile(tmp_path / "server" / "state.json").text("outside")
    data = Path(outside) if outside else tmp_path / "server"
    (data / "pgdata" / "PG_VERSION").write_text("12\n")
    with pytest.raises(ProcessStartError, match="made by release 12 and this is 18"):
        await postgres.start()


async def test_a_pid_file_naming_another_program_does_not_stop_postgres(postgres, tmp_path):
    await postgres.kill()
    outside = StateFile(tmp_path / "server" / "state.json").text("outside")
    pid_file = (Path(outside) if outside else tmp_path / "server") / "pgdata" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    await postgres.start()


def listened(server):
    """(address, port) of each TCP socket that the server's processes listen on."""
    found = set()
    for pid in server.process.pids():
        connections = psutil.Process(pid).net_connections("tcp")
        found |= {tuple(each.laddr) for each in connections if each.status == psutil.CONN_LISTEN}
    return found


async def test_servers_listen_on_loopback_alone_and_on_ports_of_their_state(server):
    state = StateFile(server.process._record.with_name("state.json"))
    known = {("127.0.0.1", port) for port in state._values.values() if isinstance(port, int)}
    assert listened(server) <= known
    if not isinstance(server, ObjectServer):
        assert listened(server) == {("127.0.0.1", server.port)}


async def test_the_object_stores_inner_ports_give_no_bytes_to_who_has_no_key(tmp_path):
    """Its filer, its master and its volume server: an S3 key is needed for S3 alone."""
    async with started(ObjectServer(tmp_path / "server")) as server:
        await store(server, b"secret bytes")
        paths = ("/buckets/tidemill/kept", "/buckets/tidemill/?pretty=y", "/dir/assign", "/1,01637037d6", "/submit")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            for _, port in listened(server):
                for method in ("GET", "POST", "DELETE"):
                    for path in paths:
                        try:
                            async with http.request(method, f"http://127.0.0.1:{port}{path}", data=b"x") as answer:
                                assert answer.status >= 400, (method, port, path)
                                assert b"secret bytes" not in await answer.read()
                        except aiohttp.ClientError:  # gRPC
                            continue
        assert await load(server) == b"secret bytes"


async def test_the_object_store_leaves_no_sockets_in_the_shared_tmp(tmp_path):
    # What an earlier program left there may bear the same port in its name.
    left = _sockets_in_tmp()
    async with started(ObjectServer(tmp_path / "server")) as server:
        ports = {str(port) for _, port in listened(server)}
        if psutil.Process(server.process.pid).uids().effective == 0 or _may_unshare():
            new = [path for path, _ in _sockets_in_tmp() - left]
            assert not [path for path in new if path.stem.rpartition("-")[2] in ports]
        assert any((tmp_path / "server" / "tmp").glob("*.sock"))


def _sockets_in_tmp():
    """The object stores' sockets in /tmp, each with its inode."""
    found = set()
    for path in Path("/tmp").glob("seaweedfs-*.sock"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path, path.stat().st_ino))
    return found


def _may_unshare():
    """Whether an ordinary user may have a namespace of his own here."""
    return subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False).returncode == 0


async def test_an_object_is_read_for_longer_than_a_token_of_the_stores_parts_used_to_live(tmp_path):
    """Its parts sign what they ask of one another; by default for ten seconds."""
    size, piece = 48 << 20, 4 << 20
    async with started(ObjectServer(tmp_path / "server")) as server:
        await asyncio.to_thread(s3(server).put_object, server.bucket, "large", io.BytesIO(bytes(size)), size)
        reply = await asyncio.to_thread(s3(server).get_object, server.bucket, "large")
        read = 0
        while read < size:
            read += len(await asyncio.to_thread(reply.read, piece))
            await asyncio.sleep(1.2)
        reply.close()
    assert read == size


async def test_postgres_in_smart_shutdown_is_not_ready_though_it_runs(postgres, tmp_path):
    """Old sessions keep it alive, and nobody new is let in: `status` asks as a client does."""
    part = UnitStatus(name=postgres.name, kind="server", where="", pid=postgres.process.pid, started_at=0.0, restarts=0)
    session = await asyncpg.connect(postgres.url)
    try:
        assert (await status.check(part, {postgres.name: postgres})).fault is None
        os.kill(postgres.process.pid, signal.SIGTERM)
        async with asyncio.timeout(60):
            while (await status.check(part, {postgres.name: postgres})).fault is None:
                await asyncio.sleep(0.02)
        assert await session.fetchval("SELECT 1") == 1
        assert postgres.process.alive
        assert "shutting down" in (await status.check(part, {postgres.name: postgres})).fault
    finally:
        await session.close()

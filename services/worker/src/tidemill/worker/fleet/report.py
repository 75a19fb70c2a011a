"""Reports to operators: the layers of the sandbox, the instances, the cache. Written to the worker's row.

It owns no state: every few seconds it reads that of other parts, off the path of predictions.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tidemill.contracts.worker_report import CacheReport, InstanceReport, LayerReport, WorkerReport
from tidemill.model.host.child_process import ChildProcess
from tidemill.model.host.runtime_path import make_runtime_path
from tidemill.model.host.sandbox_probe import probe_layers
from tidemill.model.sandbox.settings import IDENTITY, MOUNTS, Sandbox, SandboxLayer
from tidemill.runtime.clock import monotonic
from tidemill.runtime.db import TRANSIENT_ERRORS, Database
from tidemill.runtime.telemetry import log
from tidemill.worker import store
from tidemill.worker.cache.bundles import BundleCache
from tidemill.worker.instances import processes, usage
from tidemill.worker.instances.confinement import Policy
from tidemill.worker.instances.processes import RootProcess
from tidemill.worker.runs.instance import Instance
from tidemill.worker.runs.run_table import RunTable

EVERY_S: Final = 5.0  # people read it; the scheduler has the heartbeat
SIZE_EVERY: Final = 12  # reports between two measurements of the cache: a minute
PROBE_UID: Final = 199_998
NO_LIMIT: Final = sys.maxsize
COUNTED_BY_PARENTS: Final = (
    "counted by process tree only, for want of namespaces and uids: a process that gives up its parent is not counted"
)


class ReportSettings(msgspec.Struct, frozen=True, kw_only=True):
    home: Path
    capacity: int
    cache_limit_bytes: int


class Reporter:
    def __init__(
        self, table: RunTable, database: Database, bundles: BundleCache, policy: Policy, settings: ReportSettings
    ) -> None:
        self._table = table
        self._database = database
        self._bundles = bundles
        self._policy = policy
        self._settings = settings
        self._layers: list[SandboxLayer] = []
        self._cache_bytes = 0

    async def probe_layers(self) -> None:
        """Try the sandbox once at start, and log the layers that are missing."""
        self._layers = await available_layers(self._settings.home)
        for layer in self._layers:
            if layer.on:
                continue
            required = layer.name in self._policy.required
            refused = "models that are not trusted are refused, see docs/sandbox.md"
            what = refused if required else "models run without it"
            logger = log().bind(action="sandbox", layer=layer.name, reason=layer.detail, required=required)
            (logger.error if required else logger.warning)(f"a layer of the sandbox is missing: {what}")
        if reason := uncounted_memory(self._layers):
            log().warning("memory can hide from its limits", action="sandbox", reason=reason)

    async def run(self) -> None:
        """Named task."""
        count = 0
        while True:
            if count % SIZE_EVERY == 0:
                blobs = self._settings.home / "blobs"
                self._cache_bytes = await asyncio.to_thread(usage.disk_bytes, blobs, NO_LIMIT)
            count += 1
            try:
                text = msgspec.json.encode(await self.report()).decode()
                await store.write_report(self._database, self._table.worker, text)
            except TRANSIENT_ERRORS as error:
                log().warning("cannot report", action="report", error=str(error))
            await asyncio.sleep(EVERY_S)

    async def report(self) -> WorkerReport:
        instances = list(self._table.instances().values())
        memory = await asyncio.to_thread(_memory, [(each.id, _pid(each)) for each in instances])
        return WorkerReport(
            user="root" if os.geteuid() == 0 else "ordinary user",
            model_network=self._policy.network,
            capacity=self._settings.capacity,
            draining=self._table.is_draining,
            layers=layer_reports(self._layers, self._policy.required),
            instances=[instance_report(each, memory.get(each.id), monotonic()) for each in instances],
            cache=CacheReport(
                size_bytes=self._cache_bytes,
                limit_bytes=self._settings.cache_limit_bytes,
                found=self._bundles.uses["found"],
                made=self._bundles.uses["made"],
            ),
            memory_counted=uncounted_memory(self._layers),
        )


async def available_layers(home: Path) -> list[SandboxLayer]:
    """Return the layers of the sandbox that a child of this worker gets here; all off if the attempt itself fails."""
    runtime = await asyncio.to_thread(make_runtime_path, home / "runtime")
    with tempfile.TemporaryDirectory(dir=home) as tmp:
        settings = Sandbox(tmp=tmp, uid=PROBE_UID)
        try:
            return await probe_layers(settings, {"PYTHONPATH": runtime, "PATH": os.environ.get("PATH", "")})
        except (OSError, TimeoutError) as error:
            reason = str(error) or "the attempt took too long"
            return [SandboxLayer(name, on=False, detail=reason) for name in settings.layers]


def layer_reports(found: Iterable[SandboxLayer], required: Sequence[str]) -> list[LayerReport]:
    return [
        LayerReport(name=each.name, on=each.on, required=each.name in required, detail=each.detail) for each in found
    ]


def uncounted_memory(found: Sequence[SandboxLayer]) -> str | None:
    """Return why some memory of a model may not be counted, or None if each process's instance can be found."""
    apart = any(each.on and each.name in {MOUNTS, IDENTITY} for each in found)  # "mounts" stands for all namespaces
    return None if apart or not found else COUNTED_BY_PARENTS


def instance_report(instance: Instance, memory_bytes: int | None, now: float) -> InstanceReport:
    about = instance.about
    return InstanceReport(
        id=instance.id,
        queue=instance.queue,
        state=instance.state,
        model=None if about is None else about.model,
        version=None if about is None else about.version,
        trusted=about is not None and about.trusted,
        network=about is not None and about.network,
        slots=instance.concurrency,
        running=len(instance.runs),
        age_s=round(now - instance.born, 1),
        memory_bytes=memory_bytes,
        gpus=list(instance.gpus),
        boot={} if instance.boot is None else msgspec.json.decode(instance.boot, type=dict[str, float]),
        error=instance.error,
    )


def _pid(instance: Instance) -> int | None:
    return instance.child.pid if isinstance(instance.child, ChildProcess) else None


def _memory(pids: Iterable[tuple[str, int | None]]) -> dict[str, int]:
    """Return the memory of instances with a process; pages that several processes share count for each."""
    have = [(identifier, RootProcess(pid)) for identifier, pid in pids if pid is not None]
    found = processes.of_instances([root for _, root in have])
    return {identifier: usage.memory_bytes(pids, NO_LIMIT) for (identifier, _), pids in zip(have, found, strict=True)}

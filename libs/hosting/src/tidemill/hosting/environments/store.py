"""Python environments of models: one directory of packages per wish, built once, shared by all versions with that wish.

An environment never holds an interpreter. A zygote runs a trusted one, with nothing of the model's choosing on its
path; only the child, once it has locked itself in, puts `site` in front of the other packages.
"""

import asyncio
import fcntl
import hashlib
import os
import sys
import sysconfig
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from tidemill.hosting.environments import interpreters, layering
from tidemill.hosting.environments.installer import Installer, InstallFailed, Say, Unsolvable, Wanted
from tidemill.hosting.environments.layering import LAYERED, ON_REQUEST, Attempt, Layer
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.hosting.scratch import Scratch, remove_tree, sync_directory
from tidemill.hosting.single_flight import SingleFlight
from tidemill.hosting.threads import finish_in_thread
from tidemill.runtime.db import backoffs
from tidemill.runtime.telemetry import log

FORMAT: Final = 1  # of the directories; another number makes all environments new
BASE: Final = "base"
CACHE_PART: Final = 4  # of the space of environments, packages may take that only the installer's cache has
FEWER: Final = "\nThere is no solution with all that the worker shares; trying with less of it.\n"


class EnvironmentFailed(Exception):  # noqa: N818 - named after the situation
    """The model's requirements cannot be installed; the message is for its author."""


class Environment(msgspec.Struct, frozen=True):
    """What a zygote and its children need to know. Versions with the same `zygote` can be forked from one."""

    digest: str
    zygote: str
    python: Path  # what the zygote runs
    preload: tuple[str, ...]  # modules that the zygote imports ahead; they are the worker's own
    site: Path | None  # packages that a child adds to its path, before the interpreter's own
    read_paths: tuple[Path, ...]  # directories that a child must be able to read, as they really lie
    warnings: tuple[str, ...] = ()


class _Built(msgspec.Struct, frozen=True):
    """What is remembered beside the packages."""

    python: str
    preload: tuple[str, ...]


class _Plan(msgspec.Struct, frozen=True):
    """Which interpreter, and which of the worker's packages may be shared with it."""

    config: ModelConfig
    python: Path
    layers: tuple[Layer, ...]
    own: bool
    warnings: tuple[str, ...] = ()

    def digest(self) -> str:
        """The same wherever the same wish is built on the same machine with the same worker."""
        wish = [self.config.requirements, self.config.indexes, self.config.find_links]
        layers = [(layer.name, layer.version) for layer in self.layers]
        version = sys.version if self.own else self.config.python_version
        place = [str(self.python), version, sysconfig.get_platform()]
        return hashlib.sha256(msgspec.json.encode([FORMAT, wish, layers, place])).hexdigest()


class Environments:
    """`directory` holds one directory per digest. `preload` are modules worth importing before the fork."""

    def __init__(
        self,
        directory: Path,
        installer: Installer,
        scratch: Scratch,
        *,
        preload: tuple[str, ...] = (*LAYERED, *ON_REQUEST),
    ) -> None:
        self._directory = directory
        self._installer = installer
        self._scratch = scratch
        self._preload = preload
        self._own = interpreters.own()
        self._layers = layering.installed_layers()
        self._flights: SingleFlight[str, Environment] = SingleFlight("environment")
        self._found: dict[str, Path | None] = {}

    async def ensure(self, config: ModelConfig, say: Say = lambda _text: None) -> Environment:
        """The environment for a version, built if need be. `say` gets what the installer prints.

        Raises EnvironmentFailed, OSError.
        """
        plan = await self._plan(config, say)
        if plan.own and layering.satisfied(config.requirements, self._layers):
            return self._base(layering.named(config.requirements, self._preload), plan.warnings)
        digest = plan.digest()
        return await self._flights.run(digest, lambda: self._ensure(digest, plan, say))

    async def _plan(self, config: ModelConfig, say: Say) -> _Plan:
        """The interpreter asked for, where it can be had; else the worker's own, with a warning."""
        asked = config.python_version
        own = _Plan(config, self._own, layering.relevant(config.requirements, self._layers), own=True)
        if asked is None or interpreters.minor(asked) == interpreters.minor(interpreters.OWN_VERSION):
            return own
        if _shares_torch(own):
            reason = "only there the worker's torch can be shared"
        elif interpreters.minor(asked) < interpreters.OLDEST:
            reason = f"{asked} is too old"
        else:
            python = await self._find(asked, say)
            if python is not None:
                return _Plan(config, python, (), own=False)
            reason = f"{asked} cannot be had on this machine"
        warning = f"The model runs on Python {interpreters.OWN_VERSION}: {reason}."
        return msgspec.structs.replace(own, warnings=(warning,))

    async def _find(self, version: str, say: Say) -> Path | None:
        if version not in self._found:
            with self._scratch.directory() as scratch:
                try:
                    self._found[version] = await self._installer.find_python(version, scratch, say)
                except InstallFailed as failed:
                    raise EnvironmentFailed(f"Python {version} could not be installed: {failed}") from None
        return self._found[version]

    def _base(self, preload: tuple[str, ...], warnings: tuple[str, ...]) -> Environment:
        """The worker's own packages and nothing else."""
        zygote = "-".join((BASE, *preload))
        return Environment(zygote, zygote, self._own, preload, None, interpreters.own_paths(), warnings)

    async def _ensure(self, digest: str, plan: _Plan, say: Say) -> Environment:
        home = self._directory / digest
        built = await finish_in_thread(_read, home)
        if built is None:
            async with _locked(self._directory, digest):
                built = await finish_in_thread(_read, home)  # by another worker meanwhile
                if built is None:
                    built = await self._build(home, plan, say)
        python = Path(built.python)
        own = python == self._own
        paths = interpreters.own_paths() if own else interpreters.paths_of(python)
        return Environment(
            digest=digest,
            zygote="-".join((BASE, *built.preload)) if own else f"python {python}",
            python=python,
            preload=built.preload,
            site=home / "site",
            read_paths=(*paths, home.resolve()),
            warnings=plan.warnings,
        )

    async def _build(self, home: Path, plan: _Plan, say: Say) -> _Built:
        reason = ""
        for attempt in layering.attempts(plan.config.requirements, plan.layers):
            if reason:
                say(FEWER)
            with self._scratch.directory() as scratch:
                try:
                    built = await self._fill(scratch, plan, attempt, say)
                    await finish_in_thread(_publish, scratch, home, built)
                except Unsolvable as unsolvable:
                    reason = str(unsolvable)
                except InstallFailed as failed:
                    reason = str(failed)
                    break
                else:
                    log().info("environment built", action="build", environment=home.name, preload=built.preload)
                    return built
        raise EnvironmentFailed(f"The requirements could not be installed: {reason}")

    async def _fill(self, scratch: Path, plan: _Plan, attempt: Attempt, say: Say) -> _Built:
        """Installs into scratch/site. Raises Unsolvable, InstallFailed."""
        site, stand_ins = scratch / "site", scratch / "stand-ins"
        await finish_in_thread(layering.write_stand_ins, attempt.layers, stand_ins)
        wanted = Wanted(
            python=plan.python,
            requirements=attempt.requirements,
            constraints=attempt.constraints,
            indexes=plan.config.indexes,
            find_links=(*plan.config.find_links, *([str(stand_ins)] if attempt.layers else [])),
        )
        await finish_in_thread(site.mkdir)
        await self._installer.install(wanted, site, scratch, say)
        chosen = await finish_in_thread(layering.remove_stand_ins, site)
        # Without layers the worker's own packages would only be in the way of what was pinned.
        python = interpreters.own_without_packages() if plan.own and not attempt.layers else plan.python
        await self._installer.compile(python, site)
        preload = tuple(name for name in self._preload if attempt.shares_imports and name in chosen)
        return _Built(str(python), preload)

    async def evict(self, limit_bytes: int, in_use: Collection[str]) -> tuple[str, ...]:
        """Removes the longest unused until the rest takes at most `limit_bytes`; answers the digests removed.

        `in_use` are the digests that instances run on.
        """
        doomed = await finish_in_thread(self._unused, limit_bytes, in_use)
        for digest in doomed:
            await finish_in_thread(self._scratch.discard, self._directory / digest)
        if doomed:
            log().info("evicted", action="evict", environments=len(doomed))
        # The installer's cache holds the same files by links: what only it has is in nobody's use.
        if await self._installer.trim(limit_bytes // CACHE_PART):
            log().info("evicted", action="evict", installer_cache=True)
        return doomed

    def _unused(self, limit_bytes: int, in_use: Collection[str]) -> tuple[str, ...]:
        homes = [path for path in self._directory.glob("*") if path.is_dir()]
        sizes = {path: _size(path) for path in homes}
        excess = sum(sizes.values()) - limit_bytes
        doomed = []
        for path in sorted(homes, key=_used_at):
            if excess > 0 and path.name not in in_use:
                doomed.append(path.name)
                excess -= sizes[path]
        return tuple(doomed)

    async def close(self) -> None:
        await self._flights.close()


def _shares_torch(plan: _Plan) -> bool:
    """Whether torch is asked for, and the worker's own will do."""
    first = layering.attempts(plan.config.requirements, plan.layers)[0]
    asked = layering.named(plan.config.requirements, ("torch",))
    return bool(asked) and any(layer.name == "torch" for layer in first.layers)


def _record(home: Path) -> Path:
    return home / "environment.json"


def _read(home: Path) -> _Built | None:
    """Of a whole environment; its record's modification time is its last use."""
    try:
        built = msgspec.json.decode(_record(home).read_bytes(), type=_Built)
        os.utime(_record(home))
    except FileNotFoundError:
        return None
    return built if Path(built.python).exists() else None


def _used_at(home: Path) -> float:
    try:
        return _record(home).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _publish(scratch: Path, home: Path, built: _Built) -> None:
    """The environment appears whole or not at all, also after a crash of the machine."""
    fresh = scratch / "environment"
    fresh.mkdir()
    (scratch / "site").rename(fresh / "site")
    _record(fresh).write_bytes(msgspec.json.encode(built))
    os.sync()  # the installer does not sync its files, and they are too many to do it one by one
    remove_tree(home)
    fresh.rename(home)
    sync_directory(home.parent)


def _size(path: Path) -> int:
    """Bytes of the files under it. Those shared with the installer's cache count: the cache can be emptied."""
    return sum((Path(directory) / name).lstat().st_size for directory, _, names in os.walk(path) for name in names)


@asynccontextmanager
async def _locked(directory: Path, digest: str) -> AsyncIterator[None]:
    """One builder of an environment at a time on this machine; a builder that dies lets go."""
    await finish_in_thread(directory.mkdir, parents=True, exist_ok=True)
    descriptor = os.open(directory / f"{digest}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for wait in backoffs():
            if _try_lock(descriptor):
                break
            await asyncio.sleep(wait)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Python environments of models: one directory of packages for each set of requirements, built once and shared.

An environment holds no interpreter. A zygote runs a trusted one without any package of the model; only the child, once
it is sandboxed, puts `site` in front of the other packages.
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

from tidemill.hosting.environments import interpreters, shared_packages
from tidemill.hosting.environments.installer import Installer, InstallFailed, InstallRequest, OnOutput, Unsolvable
from tidemill.hosting.environments.shared_packages import SHARED, SHARED_IF_NAMED, BuildVariant, SharedPackage
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.hosting.scratch import Scratch, remove_tree, sync_directory
from tidemill.hosting.single_flight import SingleFlight
from tidemill.hosting.threads import finish_in_thread
from tidemill.runtime.db import backoffs
from tidemill.runtime.telemetry import log

FORMAT: Final = 1  # of the directories; a new number rebuilds all environments
BASE: Final = "base"
CACHE_PART: Final = 4  # the installer's cache may take 1/4 of the environments' space for unshared files
RETRY_NOTE: Final = "\nThere is no solution with all that the worker shares; trying with less of it.\n"


class EnvironmentFailed(Exception):  # noqa: N818 - named after the situation
    """The model's requirements cannot be installed; the message is for its author."""


class Environment(msgspec.Struct, frozen=True):
    """What a zygote and its children need to know. Environments with equal `zygote` share one zygote."""

    digest: str
    zygote: str
    python: Path  # the interpreter of the zygote
    preload: tuple[str, ...]  # modules of the worker that the zygote imports before forks
    site: Path | None  # packages that a child adds to its path, before the interpreter's own
    read_paths: tuple[Path, ...]  # directories that a child must be able to read, without links
    warnings: tuple[str, ...] = ()


class _EnvironmentRecord(msgspec.Struct, frozen=True):
    """The file that is stored beside the packages."""

    python: str
    preload: tuple[str, ...]


class _BuildPlan(msgspec.Struct, frozen=True):
    """The interpreter, and the worker's packages that may be shared with it."""

    config: ModelConfig
    python: Path
    packages: tuple[SharedPackage, ...]
    own: bool
    warnings: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return the key of the environment: requirements, shared packages, interpreter and platform."""
        requirements = [self.config.requirements, self.config.indexes, self.config.find_links]
        packages = [(package.name, package.version) for package in self.packages]
        version = sys.version if self.own else self.config.python_version
        platform = [str(self.python), version, sysconfig.get_platform()]
        return hashlib.sha256(msgspec.json.encode([FORMAT, requirements, packages, platform])).hexdigest()


class Environments:
    """The store. `directory` holds one directory per digest. `preload` are modules worth importing before a fork."""

    def __init__(
        self,
        directory: Path,
        installer: Installer,
        scratch: Scratch,
        *,
        preload: tuple[str, ...] = (*SHARED, *SHARED_IF_NAMED),
    ) -> None:
        self._directory = directory
        self._installer = installer
        self._scratch = scratch
        self._preload = preload
        self._own = interpreters.own()
        self._packages = shared_packages.find_shared_packages()
        self._builds: SingleFlight[str, Environment] = SingleFlight("environment")
        self._pythons: dict[str, Path | None] = {}

    async def ensure(self, config: ModelConfig, on_output: OnOutput = lambda _text: None) -> Environment:
        """Return the environment for a version; build it if needed. `on_output` gets what the installer prints.

        Raise EnvironmentFailed, OSError.
        """
        plan = await self._plan(config, on_output)
        if plan.own and shared_packages.are_satisfied(config.requirements, self._packages):
            return self._shared_environment(shared_packages.named_in(config.requirements, self._preload), plan.warnings)
        digest = plan.digest()
        return await self._builds.run(digest, lambda: self._ensure(digest, plan, on_output))

    async def _plan(self, config: ModelConfig, on_output: OnOutput) -> _BuildPlan:
        """Choose the interpreter that is asked for if it can be had; else the worker's own, with a warning."""
        asked = config.python_version
        own = _BuildPlan(
            config, self._own, shared_packages.select_packages(config.requirements, self._packages), own=True
        )
        if asked is None or interpreters.minor(asked) == interpreters.minor(interpreters.OWN_VERSION):
            return own
        if _shares_torch(own):
            reason = "only there the worker's torch can be shared"
        elif interpreters.minor(asked) < interpreters.OLDEST:
            reason = f"{asked} is too old"
        else:
            python = await self._find_python(asked, on_output)
            if python is not None:
                return _BuildPlan(config, python, (), own=False)
            reason = f"{asked} cannot be had on this machine"
        warning = f"The model runs on Python {interpreters.OWN_VERSION}: {reason}."
        return msgspec.structs.replace(own, warnings=(warning,))

    async def _find_python(self, version: str, on_output: OnOutput) -> Path | None:
        if version not in self._pythons:
            with self._scratch.directory() as scratch:
                try:
                    self._pythons[version] = await self._installer.find_python(version, scratch, on_output)
                except InstallFailed as failed:
                    raise EnvironmentFailed(f"Python {version} could not be installed: {failed}") from None
        return self._pythons[version]

    def _shared_environment(self, preload: tuple[str, ...], warnings: tuple[str, ...]) -> Environment:
        """Return the environment of the worker's own packages."""
        zygote = "-".join((BASE, *preload))
        return Environment(zygote, zygote, self._own, preload, None, interpreters.own_paths(), warnings)

    async def _ensure(self, digest: str, plan: _BuildPlan, on_output: OnOutput) -> Environment:
        home = self._directory / digest
        record = await finish_in_thread(_read_record, home)
        if record is None:
            async with _locked(self._directory, digest):
                record = await finish_in_thread(_read_record, home)  # another worker may have built it meanwhile
                if record is None:
                    record = await self._build(home, plan, on_output)
        python = Path(record.python)
        own = python == self._own
        paths = interpreters.own_paths() if own else interpreters.paths_of(python)
        return Environment(
            digest=digest,
            zygote="-".join((BASE, *record.preload)) if own else f"python {python}",
            python=python,
            preload=record.preload,
            site=home / "site",
            read_paths=(*paths, home.resolve()),
            warnings=plan.warnings,
        )

    async def _build(self, home: Path, plan: _BuildPlan, on_output: OnOutput) -> _EnvironmentRecord:
        reason = ""
        for variant in shared_packages.build_variants(plan.config.requirements, plan.packages):
            if reason:
                on_output(RETRY_NOTE)
            with self._scratch.directory() as scratch:
                try:
                    record = await self._install(scratch, plan, variant, on_output)
                    await finish_in_thread(_publish, scratch, home, record)
                except Unsolvable as unsolvable:
                    reason = str(unsolvable)
                except InstallFailed as failed:
                    reason = str(failed)
                    break
                else:
                    log().info("environment built", action="build", environment=home.name, preload=record.preload)
                    return record
        raise EnvironmentFailed(f"The requirements could not be installed: {reason}")

    async def _install(
        self, scratch: Path, plan: _BuildPlan, variant: BuildVariant, on_output: OnOutput
    ) -> _EnvironmentRecord:
        """Install into scratch/site. Raise Unsolvable, InstallFailed."""
        site, placeholders = scratch / "site", scratch / "placeholders"
        await finish_in_thread(shared_packages.write_placeholders, variant.packages, placeholders)
        request = InstallRequest(
            python=plan.python,
            requirements=variant.requirements,
            constraints=variant.constraints,
            indexes=plan.config.indexes,
            find_links=(*plan.config.find_links, *([str(placeholders)] if variant.packages else [])),
        )
        await finish_in_thread(site.mkdir)
        await self._installer.install(request, site, scratch, on_output)
        chosen = await finish_in_thread(shared_packages.remove_placeholders, site)
        # If nothing is shared, the worker's packages must not shadow pinned versions.
        python = interpreters.own_without_packages() if plan.own and not variant.packages else plan.python
        await self._installer.compile(python, site)
        preload = tuple(name for name in self._preload if variant.can_preload and name in chosen)
        return _EnvironmentRecord(str(python), preload)

    async def evict(self, limit_bytes: int, in_use: Collection[str]) -> tuple[str, ...]:
        """Remove the least recently used until the rest takes at most `limit_bytes`; return the removed digests.

        `in_use` are the digests that instances run on.
        """
        unused = await finish_in_thread(self._unused, limit_bytes, in_use)
        for digest in unused:
            await finish_in_thread(self._scratch.discard, self._directory / digest)
        if unused:
            log().info("evicted", action="evict", environments=len(unused))
        # The installer's cache hard-links the same files; files that only it has are unused.
        if await self._installer.trim(limit_bytes // CACHE_PART):
            log().info("evicted", action="evict", installer_cache=True)
        return unused

    def _unused(self, limit_bytes: int, in_use: Collection[str]) -> tuple[str, ...]:
        homes = [path for path in self._directory.glob("*") if path.is_dir()]
        sizes = {path: _size_bytes(path) for path in homes}
        excess = sum(sizes.values()) - limit_bytes
        unused = []
        for path in sorted(homes, key=_last_used_at):
            if excess > 0 and path.name not in in_use:
                unused.append(path.name)
                excess -= sizes[path]
        return tuple(unused)

    async def close(self) -> None:
        await self._builds.close()


def _shares_torch(plan: _BuildPlan) -> bool:
    """Return whether torch is required and the worker's own satisfies."""
    first = shared_packages.build_variants(plan.config.requirements, plan.packages)[0]
    asked = shared_packages.named_in(plan.config.requirements, ("torch",))
    return bool(asked) and any(package.name == "torch" for package in first.packages)


def _record_path(home: Path) -> Path:
    return home / "environment.json"


def _read_record(home: Path) -> _EnvironmentRecord | None:
    """Return the record of a complete environment, or None. Its modification time is set: it is the last use."""
    try:
        record = msgspec.json.decode(_record_path(home).read_bytes(), type=_EnvironmentRecord)
        os.utime(_record_path(home))
    except FileNotFoundError:
        return None
    return record if Path(record.python).exists() else None


def _last_used_at(home: Path) -> float:
    try:
        return _record_path(home).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _publish(scratch: Path, home: Path, record: _EnvironmentRecord) -> None:
    """Move the environment into its final directory: complete or not at all, even if the machine crashes."""
    fresh = scratch / "environment"
    fresh.mkdir()
    (scratch / "site").rename(fresh / "site")
    _record_path(fresh).write_bytes(msgspec.json.encode(record))
    os.sync()  # uv does not fsync its files, and they are too many for one fsync each
    remove_tree(home)
    fresh.rename(home)
    sync_directory(home.parent)


def _size_bytes(path: Path) -> int:
    """Return the size of its files. Files shared with the installer's cache count: the cache may be emptied."""
    return sum((Path(directory) / name).lstat().st_size for directory, _, names in os.walk(path) for name in names)


@asynccontextmanager
async def _locked(directory: Path, digest: str) -> AsyncIterator[None]:
    """Hold the lock of an environment among the workers of this machine. It is released when its holder dies."""
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

"""Runs uv: finds interpreters and fills directories with packages. Everything it prints can be shown to the author.

It installs wheels only, unless the operator says otherwise: building a source distribution runs its author's code,
and here that would be outside the sandbox.
"""

import asyncio
import codecs
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from uv import find_uv_bin

from tidemill.hosting.threads import finish_in_thread
from tidemill.hosting.wheels.limits import ENVIRONMENT_LIMIT_BYTES, too_large, wrote_too_much
from tidemill.hosting.wheels.quota import Quota, measured, remove_stale, unshared_bytes
from tidemill.hosting.wheels.size_check import banned, why_refused

Say = Callable[[str], None]  # takes text as it is printed

OUTPUT_LIMIT_CHARS: Final = 64 * 1024  # of one run that is passed on; a large environment prints 20 KiB
TAIL_CHARS: Final = 4000  # what of the end goes into an error
FIND_TIMEOUT_S: Final = 60.0  # it starts every interpreter on PATH
COMPILE_TIMEOUT_S: Final = 900.0  # half a minute for a large environment; compiling is an optimisation
CLEAN_TIMEOUT_S: Final = 120.0  # it removes some packages of the cache
STOP_WITHIN_S: Final = 5.0

ERROR: Final = "error:"  # how the line begins that says why uv failed
NO_SOLUTION: Final = 1  # uv's exit status for requirements that contradict each other or the index
# What uv may see of the worker's environment: where packages come from, and how to get there. Never TIDEMILL_*.
INHERITED: Final = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")
INHERITED_PREFIXES: Final = ("UV_",)
PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
COMPILE: Final = """
import compileall, os, sys
os.nice(10)
compileall.compile_dir(sys.argv[1], quiet=2, legacy=False)
"""


# An option on the command line replaces what the operator says by the variable: the two are put together here.
OPERATORS: Final = {
    "--find-links": ("UV_FIND_LINKS", ","),
    "--index": ("UV_INDEX", " "),
    "--constraints": ("UV_CONSTRAINT", " "),
}


class InstallFailed(Exception):  # noqa: N818 - named after the situation
    """The packages could not be installed; the message is for the model's author."""


class Unsolvable(InstallFailed):
    """No set of versions fulfils what was asked."""


class Wanted(NamedTuple):
    """What goes into one directory. `find_links` may be local."""

    python: Path
    requirements: Sequence[str]
    constraints: Sequence[str] = ()
    indexes: Sequence[str] = ()
    find_links: Sequence[str] = ()


class Installer:
    """`home` keeps uv's cache and the interpreters that it downloads."""

    def __init__(
        self,
        home: Path,
        *,
        timeout_s: float = 1800,
        python_downloads: bool = True,
        source_builds: bool = False,
        limit_bytes: int = ENVIRONMENT_LIMIT_BYTES,
    ) -> None:
        self._home = home
        self._cache = home / "cache"
        self._limit_bytes = limit_bytes  # of one directory of packages
        self._timeout_s = timeout_s
        self._python_downloads = python_downloads
        self._source_builds = source_builds

    async def install(self, wanted: Wanted, target: Path, scratch: Path, say: Say) -> None:
        """Fills `target`. `scratch` is a directory for its files. Raises Unsolvable, InstallFailed.

        What the wheels say that they hold is judged before any is unpacked; what they do hold while they are.
        """
        await finish_in_thread(remove_stale, self._cache)
        listed = _listed(scratch / "requirements.txt", wanted.requirements)
        refused = await finish_in_thread(banned, (*wanted.find_links, *_of_the_operator("--find-links")))
        sources = self._sources(wanted._replace(constraints=(*wanted.constraints, *refused)), scratch)
        if listed:
            await self._judge([*listed, *sources], scratch, refused)
        arguments = ["pip", "install", "--target", str(target), *_repeated("--requirements", listed), *sources]
        progress = _Progress(say)
        await self._done(arguments, scratch, progress)
        reason = too_large(*await finish_in_thread(measured, target), self._limit_bytes)
        if reason is not None:
            raise InstallFailed(reason)
        progress.finish()

    def _sources(self, wanted: Wanted, scratch: Path) -> list[str]:
        """For which interpreter, and from where."""
        arguments = ["--python", str(wanted.python)]
        arguments += [] if self._source_builds else ["--no-build"]
        arguments += _repeated("--constraints", _listed(scratch / "constraints.txt", wanted.constraints))
        arguments += _repeated("--find-links", wanted.find_links)
        arguments += _repeated("--index", wanted.indexes)
        if wanted.indexes:
            # As pip does; the places were allowed by the operator, so that none of them is there to deceive.
            arguments += ["--index-strategy", "unsafe-best-match"]
        return arguments

    async def _judge(self, arguments: Sequence[str], scratch: Path, refused: Mapping[str, str]) -> None:
        """Raises Unsolvable, and InstallFailed for wheels that would put too much on the disk, by their own lists.

        `refused` has the reasons of what was left out already, by constraint.
        """
        lock = scratch / "pylock.toml"
        resolve = ["pip", "compile", "--format", "pylock.toml", "--output-file", str(lock), *arguments]
        try:
            await self._done(resolve, scratch, _ignore)
        except Unsolvable as unsolvable:
            reasons = [why for constraint, why in refused.items() if constraint.partition("!")[0] in str(unsolvable)]
            raise Unsolvable("\n".join((*reasons, str(unsolvable)))) from None
        refusal = await why_refused(await finish_in_thread(lock.read_bytes), self._limit_bytes)
        if refusal is not None:
            # Where an index has no metadata apart, the resolver had to unpack what it was to judge.
            await self._run(["cache", "clean", "--force", *refusal.packages], scratch, _ignore, CLEAN_TIMEOUT_S)
            raise InstallFailed(refusal.reason)

    async def _done(self, arguments: Sequence[str], scratch: Path, say: Say) -> None:
        """Raises Unsolvable, InstallFailed."""
        status, tail = await self._run(arguments, scratch, say, self._timeout_s)
        if status == NO_SOLUTION:
            raise Unsolvable(_shortened(tail))
        if status != 0:
            raise InstallFailed(_shortened(tail))

    async def find_python(self, version: str, scratch: Path, say: Say) -> Path | None:
        """An interpreter of that version, of the system or downloaded; None when there is none to be had."""
        find = ["python", "find", "--system", "--no-project", "--no-python-downloads", version]
        status, tail = await self._run(find, scratch, _ignore, FIND_TIMEOUT_S)
        if status != 0 and self._python_downloads:
            status, _ = await self._run(["python", "install", version], scratch, say, self._timeout_s)
            if status == 0:
                status, tail = await self._run(find, scratch, _ignore, FIND_TIMEOUT_S)
        found = Path(tail.strip().rpartition("\n")[2])
        return found if status == 0 and found.is_absolute() else None

    async def compile(self, python: Path, site: Path) -> None:
        """Bytecode for all modules, so that read-only directories need not be compiled at every boot.

        The interpreter runs isolated and without site, so that nothing of what was installed is executed.
        """
        with contextlib.suppress(InstallFailed):
            await self._execute([str(python), "-I", "-S", "-c", COMPILE, str(site)], site, _ignore, COMPILE_TIMEOUT_S)

    async def trim(self, limit_bytes: int) -> bool:
        """Empties the cache when what no environment shares with it takes more; packages are then fetched afresh."""
        if await finish_in_thread(unshared_bytes, self._cache) <= limit_bytes:
            return False
        status, _ = await self._run(["cache", "clean"], self._home, _ignore, CLEAN_TIMEOUT_S)
        return status == 0

    async def _run(self, arguments: Sequence[str], scratch: Path, say: Say, timeout_s: float) -> tuple[int, str]:
        command = [find_uv_bin(), *arguments, "--no-config", "--no-progress", "--color", "never"]
        return await self._execute(command, scratch, say, timeout_s)

    async def _execute(self, command: Sequence[str], cwd: Path, say: Say, timeout_s: float) -> tuple[int, str]:
        """The exit status and the end of what was printed. Raises InstallFailed when it takes too long or too much."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env=self._environment(os.environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        quota = Quota(process.pid, self._cache, self._limit_bytes)
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as beside:
                watching = beside.create_task(quota.watch(), name="installer's quota")
                tail = await _relay(process.stdout, say)
                status = await process.wait()
                watching.cancel()
        except TimeoutError:
            raise InstallFailed(f"installing took longer than {timeout_s:g} s") from None
        finally:
            await _end(process)
            await quota.clear()
        if quota.exceeded:
            raise InstallFailed(wrote_too_much(quota.under_way, self._limit_bytes))
        return status, tail

    def _environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        kept = {
            name: value
            for name, value in inherited.items()
            if name in INHERITED or name.startswith(INHERITED_PREFIXES) or name.lower() in PROXIES
        }
        return {
            **kept,
            "UV_CACHE_DIR": str(self._cache),
            "UV_PYTHON_INSTALL_DIR": str(self._home / "python"),
            "UV_PYTHON_INSTALL_BIN": "0",
        }


def _listed(path: Path, lines: Sequence[str]) -> list[str]:
    """The file with these lines, or none: uv warns of empty ones."""
    if not lines:
        return []
    path.write_text("".join(f"{line}\n" for line in lines))
    return [str(path)]


def _repeated(option: str, values: Sequence[str]) -> list[str]:
    if not values:
        return []
    return [part for value in (*values, *_of_the_operator(option)) for part in (option, value)]


def _of_the_operator(option: str) -> list[str]:
    variable, separator = OPERATORS.get(option, ("", " "))
    return [value for value in os.environ.get(variable, "").split(separator) if value]


async def _relay(stream: asyncio.StreamReader, say: Say) -> str:
    """Passes on what comes, up to the limit; returns the end of it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    said, tail = 0, ""
    while data := await stream.read(8192):
        text = decoder.decode(data)
        tail = (tail + text)[-TAIL_CHARS:]
        if said < OUTPUT_LIMIT_CHARS:
            say(text[: OUTPUT_LIMIT_CHARS - said])
            said += len(text)
    return tail


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends what still runs of it, also what it started."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), STOP_WITHIN_S)


class _Progress:
    """Passes on what uv says up to its error, which the exception tells: nobody need read it twice, or once for each
    attempt with fewer layers.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._held = ""  # a line that has not ended, or the error and all behind it
        self._failed = False

    def __call__(self, text: str) -> None:
        self._held += text
        while not self._failed and (end := self._held.find("\n") + 1):
            self._failed = self._held.startswith(ERROR)
            if not self._failed:
                self._say(self._held[:end])
                self._held = self._held[end:]

    def finish(self) -> None:
        """It was no failure after all."""
        if self._held:
            self._say(self._held)
        self._held = ""


def _shortened(tail: str) -> str:
    """Uv's error without what it did before it failed."""
    before, found, error = f"\n{tail}".partition(f"\n{ERROR}")
    return (error if found else before).strip() or "uv failed without a message"


def _ignore(_text: str) -> None:
    return

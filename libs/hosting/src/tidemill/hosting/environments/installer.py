"""Runs uv: finds interpreters and installs packages into directories. Its output may be shown to the author.

It installs wheels only, unless the operator allows more: building a source distribution runs its author's code, outside
the sandbox.
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
from tidemill.hosting.wheels.limits import ENVIRONMENT_LIMIT_BYTES, check_total, describe_quota
from tidemill.hosting.wheels.quota import WriteQuota, measure, remove_stale, unshared_bytes
from tidemill.hosting.wheels.size_check import check_wheels, find_refused_wheels

OnOutput = Callable[[str], None]  # called with text as it is printed

OUTPUT_LIMIT_CHARS: Final = 64 * 1024  # passed on of one run; a large environment prints 20 KiB
TAIL_CHARS: Final = 4000  # of the end of the output, for an error's message
FIND_TIMEOUT_S: Final = 60.0  # it starts every interpreter on PATH
COMPILE_TIMEOUT_S: Final = 900.0  # half a minute for a large environment; compiling is an optimisation
CLEAN_TIMEOUT_S: Final = 120.0  # it removes a few packages from the cache
STOP_WITHIN_S: Final = 5.0

ERROR: Final = "error:"  # the beginning of the line with uv's error
NO_SOLUTION: Final = 1  # uv's exit status for requirements that contradict each other or the index
# The worker's variables that uv gets: package sources and how to reach them. Never TIDEMILL_*.
INHERITED: Final = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")
INHERITED_PREFIXES: Final = ("UV_",)
PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
COMPILE: Final = """
import compileall, os, sys
os.nice(10)
compileall.compile_dir(sys.argv[1], quiet=2, legacy=False)
"""


# uv ignores these variables of the operator if the option is given, so we pass both as options.
OPERATOR_VARIABLES: Final = {
    "--find-links": ("UV_FIND_LINKS", ","),
    "--index": ("UV_INDEX", " "),
    "--constraints": ("UV_CONSTRAINT", " "),
}


class InstallFailed(Exception):  # noqa: N818 - named after the situation
    """The packages could not be installed; the message is for the model's author."""


class Unsolvable(InstallFailed):
    """No set of versions satisfies the requirements."""


class InstallRequest(NamedTuple):
    """What goes into one directory. `find_links` may be local folders."""

    python: Path
    requirements: Sequence[str]
    constraints: Sequence[str] = ()
    indexes: Sequence[str] = ()
    find_links: Sequence[str] = ()


class Installer:
    """`home` keeps uv's cache and downloaded interpreters."""

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
        self._limit_bytes = limit_bytes  # for one directory of packages
        self._timeout_s = timeout_s
        self._python_downloads = python_downloads
        self._source_builds = source_builds

    async def install(self, request: InstallRequest, target: Path, scratch: Path, on_output: OnOutput) -> None:
        """Install into `target`. `scratch` is a directory for temporary files. Raise Unsolvable, InstallFailed.

        Sizes that wheels declare are checked before unpacking; the bytes written are counted while uv unpacks.
        """
        await finish_in_thread(remove_stale, self._cache)
        listed = _write_lines(scratch / "requirements.txt", request.requirements)
        refused = await finish_in_thread(find_refused_wheels, (*request.find_links, *_operator_values("--find-links")))
        sources = self._sources(request._replace(constraints=(*request.constraints, *refused)), scratch)
        if listed:
            await self._check_sizes([*listed, *sources], scratch, refused)
        arguments = ["pip", "install", "--target", str(target), *_repeat("--requirements", listed), *sources]
        progress = _UvOutput(on_output)
        await self._run_checked(arguments, scratch, progress)
        reason = check_total(*await finish_in_thread(measure, target), self._limit_bytes)
        if reason is not None:
            raise InstallFailed(reason)
        progress.finish()

    def _sources(self, request: InstallRequest, scratch: Path) -> list[str]:
        """Return uv's options for the interpreter and the package sources."""
        arguments = ["--python", str(request.python)]
        arguments += [] if self._source_builds else ["--no-build"]
        arguments += _repeat("--constraints", _write_lines(scratch / "constraints.txt", request.constraints))
        arguments += _repeat("--find-links", request.find_links)
        arguments += _repeat("--index", request.indexes)
        if request.indexes:
            # pip's behaviour. It is safe: the operator allows the indexes.
            arguments += ["--index-strategy", "unsafe-best-match"]
        return arguments

    async def _check_sizes(self, arguments: Sequence[str], scratch: Path, refused: Mapping[str, str]) -> None:
        """Resolve, and raise Unsolvable, or InstallFailed if the chosen wheels declare to be too large.

        `refused` has the reason by constraint for wheels that were excluded before.
        """
        lock = scratch / "pylock.toml"
        resolve = ["pip", "compile", "--format", "pylock.toml", "--output-file", str(lock), *arguments]
        try:
            await self._run_checked(resolve, scratch, _discard)
        except Unsolvable as unsolvable:
            reasons = [why for constraint, why in refused.items() if constraint.partition("!")[0] in str(unsolvable)]
            raise Unsolvable("\n".join((*reasons, str(unsolvable)))) from None
        refusal = await check_wheels(await finish_in_thread(lock.read_bytes), self._limit_bytes)
        if refusal is not None:
            # For indexes without separate metadata the resolver has already unpacked the wheels: remove them.
            await self._run(["cache", "clean", "--force", *refusal.packages], scratch, _discard, CLEAN_TIMEOUT_S)
            raise InstallFailed(refusal.reason)

    async def _run_checked(self, arguments: Sequence[str], scratch: Path, on_output: OnOutput) -> None:
        """Run uv. Raise Unsolvable, InstallFailed."""
        status, tail = await self._run(arguments, scratch, on_output, self._timeout_s)
        if status == NO_SOLUTION:
            raise Unsolvable(_error_of(tail))
        if status != 0:
            raise InstallFailed(_error_of(tail))

    async def find_python(self, version: str, scratch: Path, on_output: OnOutput) -> Path | None:
        """Return an interpreter of that version, installed or downloaded, or None if there is none."""
        find = ["python", "find", "--system", "--no-project", "--no-python-downloads", version]
        status, tail = await self._run(find, scratch, _discard, FIND_TIMEOUT_S)
        if status != 0 and self._python_downloads:
            status, _ = await self._run(["python", "install", version], scratch, on_output, self._timeout_s)
            if status == 0:
                status, tail = await self._run(find, scratch, _discard, FIND_TIMEOUT_S)
        found = Path(tail.strip().rpartition("\n")[2])
        return found if status == 0 and found.is_absolute() else None

    async def compile(self, python: Path, site: Path) -> None:
        """Compile all modules: the directory is read-only later, so bytecode could not be cached at boot.

        The interpreter runs isolated and without site, so that no installed code is executed.
        """
        with contextlib.suppress(InstallFailed):
            await self._execute([str(python), "-I", "-S", "-c", COMPILE, str(site)], site, _discard, COMPILE_TIMEOUT_S)

    async def trim(self, limit_bytes: int) -> bool:
        """Empty uv's cache if its unshared files take more than `limit_bytes`. Return whether it was emptied."""
        if await finish_in_thread(unshared_bytes, self._cache) <= limit_bytes:
            return False
        status, _ = await self._run(["cache", "clean"], self._home, _discard, CLEAN_TIMEOUT_S)
        return status == 0

    async def _run(
        self, arguments: Sequence[str], scratch: Path, on_output: OnOutput, timeout_s: float
    ) -> tuple[int, str]:
        command = [find_uv_bin(), *arguments, "--no-config", "--no-progress", "--color", "never"]
        return await self._execute(command, scratch, on_output, timeout_s)

    async def _execute(
        self, command: Sequence[str], cwd: Path, on_output: OnOutput, timeout_s: float
    ) -> tuple[int, str]:
        """Return exit status and end of output. Raise InstallFailed if it takes too long or writes too much."""
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
        quota = WriteQuota(process.pid, self._cache, self._limit_bytes)
        try:
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                watcher = group.create_task(quota.watch(), name="installer's quota")
                tail = await _relay(process.stdout, on_output)
                status = await process.wait()
                watcher.cancel()
        except TimeoutError:
            raise InstallFailed(f"installing took longer than {timeout_s:g} s") from None
        finally:
            await _kill(process)
            await quota.remove_leftovers()
        if quota.exceeded:
            raise InstallFailed(describe_quota(quota.under_way, self._limit_bytes))
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


def _write_lines(path: Path, lines: Sequence[str]) -> list[str]:
    """Write the lines to a file and return [path], or [] for no lines: uv warns of empty files."""
    if not lines:
        return []
    path.write_text("".join(f"{line}\n" for line in lines))
    return [str(path)]


def _repeat(option: str, values: Sequence[str]) -> list[str]:
    if not values:
        return []
    return [part for value in (*values, *_operator_values(option)) for part in (option, value)]


def _operator_values(option: str) -> list[str]:
    variable, separator = OPERATOR_VARIABLES.get(option, ("", " "))
    return [value for value in os.environ.get(variable, "").split(separator) if value]


async def _relay(stream: asyncio.StreamReader, on_output: OnOutput) -> str:
    """Pass the output on, up to the limit; return its end."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    passed_on, tail = 0, ""
    while data := await stream.read(8192):
        text = decoder.decode(data)
        tail = (tail + text)[-TAIL_CHARS:]
        if passed_on < OUTPUT_LIMIT_CHARS:
            on_output(text[: OUTPUT_LIMIT_CHARS - passed_on])
            passed_on += len(text)
    return tail


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process group if the process still runs."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), STOP_WITHIN_S)


class _UvOutput:
    """Passes on what uv prints up to its error. The exception has the error, and each variant would repeat it."""

    def __init__(self, on_output: OnOutput) -> None:
        self._on_output = on_output
        self._held = ""  # an unfinished line, or the error and everything after it
        self._failed = False

    def __call__(self, text: str) -> None:
        self._held += text
        while not self._failed and (end := self._held.find("\n") + 1):
            self._failed = self._held.startswith(ERROR)
            if not self._failed:
                self._on_output(self._held[:end])
                self._held = self._held[end:]

    def finish(self) -> None:
        """Pass on what was held back, since uv succeeded."""
        if self._held:
            self._on_output(self._held)
        self._held = ""


def _error_of(tail: str) -> str:
    """Return uv's error without the output before it."""
    before, found, error = f"\n{tail}".partition(f"\n{ERROR}")
    return (error if found else before).strip() or "uv failed without a message"


def _discard(_text: str) -> None:
    return

"""Pages of documentation as programs: their blocks of code, and a shell that runs those of a page in order.

What a block is stands behind the three backquotes: its language, then at most one word about it and a text.

    sh                       runs, and must succeed
    sh prints: 201           the output must hold the text, too
    sh fails: 422            must fail, and say the text
    sh soon: delivered       is repeated until the output holds the text, as by somebody who looks again
    sh until: listening      stays in the foreground, as in another terminal; it is ready when it says the text
    sh not run: the reason   does not run here

`python`, `python replicate 2` and `javascript` are programs; `json` and `yaml` must parse, `mermaid` and `text` are
shown.
"""

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

SHOWS: Final = frozenset({"json", "mermaid", "yaml", "text"})  # what is looked at and not run
PROGRAMS: Final = frozenset({"sh", "python", "python replicate 1", "python replicate 2", "javascript"})
BLOCK_WITHIN_S: Final = 240.0  # a block may push a model and boot it, on a machine that does other things besides
LOOK_EVERY_S: Final = 0.1
STOP_WITHIN_S: Final = 10.0
FOLDER: Final = ".blocks"
OUTPUT_SHOWN_CHARS: Final = 4000

_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)$")
_INFO: Final = re.compile(r"(?P<language>[a-z0-9 ]+?)(?: (?P<about>not run|prints|fails|until|soon): (?P<text>.+))?")
# A block that fails ends the shell, so that nothing of the page runs after it.
_PROLOGUE: Final = "set -euo pipefail\nshopt -s expand_aliases\nset +m\n"
_ALIVE: Final = 8  # a descriptor that all that runs holds open
_ANSWER: Final = 9  # the descriptor by which the shell says that a block has ended


class Block(NamedTuple):
    """One block of a page. `about` is one of the words above, or empty; `text` belongs to it."""

    page: str
    line: int
    language: str
    about: str
    text: str
    code: str

    @property
    def runs(self) -> bool:
        return self.language in PROGRAMS and self.about != "not run"

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class PageError(Exception):
    """A block is not marked as blocks are, or did not do what its page says."""


def blocks_of(page: str, markdown: str) -> list[Block]:
    """The blocks of a page in their order. Raise PageError for one that says nothing of what it is."""
    found: list[Block] = []
    opened: re.Match[str] | None = None
    begins, lines = 0, list[str]()
    for number, line in enumerate(markdown.splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            if opened is not None:
                lines.append(line.removeprefix(opened["indent"]))
        elif opened is None:
            opened, begins, lines = fence, number, []
        else:
            found.append(_block(page, begins, opened["info"].strip(), "\n".join(lines) + "\n"))
            opened = None
    if opened is not None:
        raise PageError(f"{page}:{begins}: the block does not end")
    return found


def _block(page: str, line: int, info: str, code: str) -> Block:
    parts = _INFO.fullmatch(info)
    if parts is None or parts["language"] not in PROGRAMS | SHOWS:
        raise PageError(f"{page}:{line}: {info!r} does not say what the block is: one of {sorted(PROGRAMS | SHOWS)}")
    if parts["language"] in SHOWS and parts["about"] is not None:
        raise PageError(f"{page}:{line}: {info!r}: what is shown is not run")
    return Block(page, line, parts["language"], parts["about"] or "", parts["text"] or "", code)


class Session:
    """A shell in which the blocks of one page run, one after the other, as a reader would type them."""

    def __init__(self, folder: Path, shell: asyncio.subprocess.Process, answers: asyncio.StreamReader) -> None:
        self._folder = folder
        self._shell = shell
        self._answers = answers
        self._number = 0

    async def run(self, block: Block, program: Sequence[str]) -> str:
        """The block's output. `program` is what runs a file in its language. Raise PageError when it does something
        else than its page says.
        """
        self._number += 1
        log = self._folder / f"{self._number}.log"
        log.touch()
        command = self._command(block, program)
        try:
            async with asyncio.timeout(BLOCK_WITHIN_S):
                status = await self._status(command, log)
                while block.about in {"until", "soon"} and block.text not in _text(log):
                    await asyncio.sleep(LOOK_EVERY_S)
                    if block.about == "soon":
                        status = await self._status(command, log)
        except TimeoutError:
            raise PageError(f"{block} has not ended:\n{block.code}\n{_text(log)}") from None
        if (status != 0) != (block.about == "fails"):
            raise PageError(f"{block} exited with {status}:\n{block.code}\n{_text(log)}")
        if block.text not in _text(log):
            raise PageError(f"{block} does not say {block.text!r}:\n{block.code}\n{_text(log)}")
        return _text(log)

    def _command(self, block: Block, program: Sequence[str]) -> str:
        suffix = {"sh": "sh", "javascript": "mjs"}.get(block.language, "py")
        file = self._folder / f"{self._number}.{suffix}"
        file.write_text(block.code)
        words = shlex.join(["source", str(file)] if block.language == "sh" else [*program, str(file)])
        if block.about == "until":
            return f"{words} &"
        # In a shell of its own: its failure ends not the page's, and what is repeated leaves nothing behind.
        return f"( {words} )" if block.about in {"fails", "soon"} else words

    async def _status(self, command: str, log: Path) -> int:
        """Of a command when it has ended; what it says goes to the log."""
        lines = f"status=0\n{{ {command}\n}} >{shlex.quote(str(log))} 2>&1 </dev/null {_ANSWER}>&-"
        # Not for those that must succeed: what stands before `||` may fail in the middle, and bash goes on.
        lines += " || status=$?" if command.startswith("(") else ""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{lines}\necho $status >&{_ANSWER}\n".encode())
        await self._shell.stdin.drain()
        line = await self._answers.readline()
        return int(line) if line else await self._shell.wait()


def _text(log: Path) -> str:
    return log.read_text(errors="replace")[-OUTPUT_SHOWN_CHARS:]


@asynccontextmanager
async def session(place: Path, environment: Mapping[str, str]) -> AsyncIterator[Session]:
    """A Session in the directory `place`; what its blocks began ends with it."""
    folder = place / FOLDER  # in there, where programs find what lies in the directories above them
    folder.mkdir()
    answers, answering = await _pipe()
    living, alive = await _pipe()
    try:
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"exec {_ANSWER}>&{answering} {_ALIVE}>&{alive} bash --noprofile --norc"),
            cwd=place,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            pass_fds=[answering, alive],
            start_new_session=True,
        )
    finally:
        os.close(answering)
        os.close(alive)
    assert shell.stdin is not None
    shell.stdin.write(_PROLOGUE.encode())
    try:
        yield Session(folder, shell, answers.stream)
    finally:
        await _end(shell, living.stream)
        answers.transport.close()
        living.transport.close()


class _Reader(NamedTuple):
    stream: asyncio.StreamReader
    transport: asyncio.ReadTransport


async def _pipe() -> tuple[_Reader, int]:
    """The end that is read here, and the descriptor that others write to."""
    reading, writing = os.pipe()
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reading, "rb")
    )
    return _Reader(stream, transport), writing


async def _end(shell: asyncio.subprocess.Process, living: asyncio.StreamReader) -> None:
    """The shell and what it began: asked first, then by force. Whoever lives holds the pipe open."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN_S):
                await shell.wait()
                await living.read()
                return

"""Applies each mutation of mutations.toml to a copy of the checkout and runs the tests that must fail then.

Exit status 0 when every mutation was caught, 1 when one survived or could not be tried. The checkout is only read.
"""

import argparse
import itertools
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from mutations import ROOT, Mutation, read

RUN_LIMIT_S = 900.0
FAILED = 1  # pytest's exit status when tests have failed; others mean that it could not run them
SHOWN_LINES = 15


class Copy:
    """A copy of the checkout with an environment of its own, in which mutations can be tried one at a time."""

    def __init__(self, place: Path) -> None:
        self.root = place
        for name in _files():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
        self._run(["./just", "setup"], check=True)
        # Bytecode is found stale by whole seconds and size: each write gets a second of its own.
        self._seconds = itertools.count(int(time.time()) + 1000)

    def test(self, tests: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        arguments = [".venv/bin/python", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        return self._run(["deploy/clean-env.sh", *arguments], check=False)

    def try_out(self, mutation: Mutation) -> "subprocess.CompletedProcess[str]":
        path = self.root / mutation.file
        text = path.read_text()
        try:
            self._write(path, text.replace(mutation.old, mutation.new))
            return self.test(mutation.tests)
        finally:
            self._write(path, text)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        second = next(self._seconds)
        os.utime(path, (second, second))

    def _run(self, command: Sequence[str], *, check: bool) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=check, timeout=RUN_LIMIT_S)


class Report:
    """What became of the mutations, printed as they end."""

    def __init__(self, count: int) -> None:
        self.bad: list[str] = []
        self._count = count
        self._done = 0
        self._lock = threading.Lock()

    def note(self, mutation: Mutation, verdict: str, seconds: float, said: str = "") -> None:
        with self._lock:
            self._done += 1
            print(f"{self._done:3d}/{self._count} {verdict:9s} {seconds:5.1f} s  {mutation.name}", flush=True)
            if verdict != "caught":
                self.bad.append(f"{verdict}: {mutation.name} ({mutation.file})")
                print("\n".join(f"        {line}" for line in said.splitlines()[-SHOWN_LINES:]), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    chosen = [each for each in read() if asked.only is None or asked.only in f"{each.name} {each.file}"]
    if asked.list:
        print("\n".join(f"{each.name}  ({each.file})" for each in chosen))
        return 0
    report = Report(len(chosen))
    with tempfile.TemporaryDirectory(prefix="tidemill-mutate-") as place:
        copies = [Copy(Path(place) / str(number)) for number in range(asked.jobs)]
        if not asked.no_control and not _passes(copies[0], chosen):
            return 1
        _try_all(copies, chosen, report)
    caught = len(chosen) - len(report.bad)
    print(f"{caught} of {len(chosen)} mutations were caught", *report.bad, sep="\n  ")
    return 1 if report.bad or not chosen else 0


def _passes(copy: Copy, chosen: Sequence[Mutation]) -> bool:
    """The tests pass without a mutation, or a failure with one would mean nothing."""
    tests = sorted({test for each in chosen for test in each.tests})
    done = copy.test(tests)
    print(done.stdout.splitlines()[-1] if done.stdout else done.stderr, "without a mutation", flush=True)
    if done.returncode:
        print(done.stdout)
    return done.returncode == 0


def _try_all(copies: Sequence[Copy], chosen: Sequence[Mutation], report: Report) -> None:
    waiting: queue.SimpleQueue[Mutation] = queue.SimpleQueue()
    for each in chosen:
        waiting.put(each)
    threads = [threading.Thread(target=_try_some, args=(copy, waiting, report)) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _try_some(copy: Copy, waiting: "queue.SimpleQueue[Mutation]", report: Report) -> None:
    for mutation in _taken(waiting):
        began = time.monotonic()
        if mutation.occurrences(copy.root) != 1:
            report.note(mutation, "not found", 0.0, "its text must stand once in its file")
            continue
        done = copy.try_out(mutation)
        verdict = {0: "survived", FAILED: "caught"}.get(done.returncode, "broken")
        report.note(mutation, verdict, time.monotonic() - began, done.stdout + done.stderr)


def _taken(waiting: "queue.SimpleQueue[Mutation]") -> Iterator[Mutation]:
    while True:
        try:
            yield waiting.get_nowait()
        except queue.Empty:
            return


def _files() -> list[str]:
    """What git knows and does not ignore, as it lies in the checkout now."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="just mutate", description=__doc__)
    parser.add_argument("--only", metavar="TEXT", help="those whose name or file contains it")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="copies that work side by side (2)")
    parser.add_argument("--list", action="store_true", help="show the mutations and try none")
    parser.add_argument("--no-control", action="store_true", help="do not run the tests without a mutation first")
    return parser


if __name__ == "__main__":
    sys.exit(main())

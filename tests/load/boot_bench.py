"""Cold boots of the same torch models here and in coglet, on a machine that has the files: from nothing to an output.

`./just bench-boot [--rounds N] [--small-only]`. coglet: from starting `python -m cog.server.http` to the first answer.
Tidemill: from the POST for a version without an instance to its answer (each round is a new version of the same
files). Both run the very same torch. "dropped": the page cache holds nothing of the weights (a virtual machine's host
may); "one read" is what a plain read of the same file takes in the same state, each round.
"""

import argparse
import ctypes
import json
import mmap
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from coglet_peer import peer_python, running_peer

from tidemill.testing.running import RunningStack

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "models"
CACHE = ROOT / ".bench"
BLOCK_BYTES = 1024 * 1024
WAIT_FOR_COGLET_S = 120.0
DROPPED_SHARE = 0.01  # of the file's pages
DROP_WITHIN_S = 30.0
PAUSE_S = 0.005  # between two tries of a server that is not up yet
WRITE_WEIGHTS = """
import sys, torch
from safetensors.torch import save_file
torch.manual_seed(0)
layers = {f"layer{number}": torch.randn(4096, 4096) / 64 for number in range(16)}
save_file(layers, sys.argv[1] + "/weights.safetensors")
torch.save(layers, sys.argv[1] + "/weights.pt")
"""


class Case(NamedTuple):
    """`weights` is the file that the model maps or reads, in the model's directory; None for the small model."""

    name: str
    directory: Path
    weights: str | None = None


def post(url, body, headers=None):
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method="POST")
    with urllib.request.urlopen(request, timeout=WAIT_FOR_COGLET_S) as response:
        return json.load(response)


def drop_from_page_cache(path):
    """Pages that a process still maps stay: whoever has booted from the file must have ended."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        deadline = time.monotonic() + DROP_WITHIN_S
        while cached_share(descriptor) > DROPPED_SHARE:
            if time.monotonic() > deadline:
                sys.exit(f"{path} stays in the page cache: some process maps it")
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            time.sleep(PAUSE_S)
    finally:
        os.close(descriptor)


def cached_share(descriptor):
    """Of a file's pages, those in the page cache, by mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    size = os.fstat(descriptor).st_size
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    length = ctypes.c_size_t(size)
    address = ctypes.c_void_p(libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, ctypes.c_long(0)))
    try:
        if libc.mincore(address, length, pages):
            raise OSError(ctypes.get_errno(), "mincore")
    finally:
        libc.munmap(address, length)
    return sum(page & 1 for page in pages) / len(pages)


def read_through(path):
    """Seconds that one plain sequential read of the file takes, as `dd bs=1M of=/dev/null` does it."""
    block = bytearray(BLOCK_BYTES)
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(block):
            continue
    return time.perf_counter() - began


def boot_coglet(python, directory):
    """Seconds from the start of the server to its first output."""
    log = CACHE / "coglet-boot.log"
    with running_peer(python, directory, "Predictor", log) as peer:
        while time.perf_counter() - peer.started_at < WAIT_FOR_COGLET_S:
            try:
                if post(peer.url, {"input": {}})["status"] == "succeeded":
                    return time.perf_counter() - peer.started_at
            except OSError:
                time.sleep(PAUSE_S)
    sys.exit(f"coglet did not come up; see {log}")


class Tidemill:
    """A stack of its own; every boot is of a version that no instance has run."""

    def __init__(self, home):
        self.stack = RunningStack(home, {"TIDEMILL_INSTANCES": "64"})
        self.stack.up("--no-catalogue")
        self._versions = 0

    def push(self, case):
        """A new version of the same files: its digest differs by a file that nobody reads."""
        self._versions += 1
        (case.directory / "round.txt").write_text(f"{time.time_ns()} {self._versions}")
        printed = self.stack.tidemill("push", f"local/{case.directory.name}", str(case.directory))
        return re.search(r"^Version \S+:([0-9a-f]{64})$", printed, re.MULTILINE)[1]

    def boot(self, version):
        headers = {"Authorization": f"Bearer {self.stack.token}", "Prefer": "wait"}
        began = time.perf_counter()
        prediction = post(f"{self.stack.base_url}/v1/predictions", {"version": version, "input": {}}, headers)
        took = time.perf_counter() - began
        if prediction["status"] != "succeeded" or prediction["version"] != version:
            sys.exit(f"the prediction is {prediction['status']}: {prediction['error']}\n{prediction['logs']}")
        return took

    def end(self, case, version):
        """Deletes the version, and with it its instance, which maps the weights."""
        url = f"{self.stack.base_url}/v1/models/local/{case.directory.name}/versions/{version}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.stack.token}"}, method="DELETE")
        urllib.request.urlopen(request, timeout=WAIT_FOR_COGLET_S).close()

    def phases(self):
        """Seconds by phase of all boots since the start, as the worker logged them."""
        lines = (self.stack.home / "log" / "worker.log").read_text().splitlines()
        events = (json.loads(line) for line in lines if '"instance ready"' in line)
        return [event["seconds"] for event in events]


def prepare(python, folder, *, small_only):
    small = folder / "boot-small"
    shutil.copytree(MODELS / "boot_small", small)
    cases = [Case("small torch model", small)]
    if small_only:
        return cases
    weights = CACHE / "boot-weights"
    if not (weights / "weights.pt").exists():
        weights.mkdir(parents=True, exist_ok=True)
        subprocess.run([str(python), "-c", WRITE_WEIGHTS, str(weights)], check=True)
    ways = {"safetensors": "weights.safetensors", "torch.load(mmap=True)": "weights.pt", "torch.load": "weights.pt"}
    for number, (how, file) in enumerate(ways.items()):
        directory = folder / f"boot-large-{number}"
        shutil.copytree(MODELS / "boot_large", directory)
        (directory / "how.txt").write_text(how)
        shutil.copyfile(weights / file, directory / file)
        cases.append(Case(f"1 GiB, {how}", directory, file))
    return cases


def blob_of(tidemill, case):
    """The worker's copy of the weights: the one that a boot maps."""
    size = (case.directory / case.weights).stat().st_size
    blobs = (tidemill.stack.home).rglob("blobs/??/*")
    return next(path for path in blobs if path.is_file() and path.stat().st_size == size)


class Round(NamedTuple):
    """Seconds: coglet's, ours, and one read of the weights with the page cache in the same state."""

    theirs: float
    ours: float
    reading: float | None


def measure(case, python, tidemill, *, dropped):
    version = tidemill.push(case)
    if not case.weights:
        return Round(boot_coglet(python, case.directory), tidemill.boot(version), None)
    bring = drop_from_page_cache if dropped else read_through
    blob = blob_of(tidemill, case)
    bring(case.directory / case.weights)
    theirs = boot_coglet(python, case.directory)
    bring(blob)
    reading = read_through(blob)
    bring(blob)
    ours = tidemill.boot(version)
    tidemill.end(case, version)
    bring(blob)  # again: the host of a virtual machine may have had more of it by now
    return Round(theirs, ours, min(reading, read_through(blob)))


def row(name, cache, rounds):
    theirs, ours = statistics.median(r.theirs for r in rounds), statistics.median(r.ours for r in rounds)
    ratios = [r.theirs / r.ours for r in rounds]
    ratio = f"{statistics.median(ratios):.1f} ({min(ratios):.1f})"
    reading = f"{statistics.median(r.reading for r in rounds) * 1000:.0f} ms" if rounds[0].reading else "-"
    return f"| {name} | {cache} | {theirs:.2f} s | {ours * 1000:.0f} ms | {ratio} | {reading} |"


def run(cases, python, tidemill, rounds):
    rows = []
    for case in cases:
        measure(case, python, tidemill, dropped=False)  # zygotes, bytecode, page cache: a warm machine
        for dropped in (False, True) if case.weights else (False,):
            measured = [measure(case, python, tidemill, dropped=dropped) for _ in range(rounds)]
            rows.append(row(case.name, "dropped" if dropped else "warm", measured))
            print(rows[-1], flush=True)
    print("\n| model | page cache | coglet, start to output | Tidemill, POST to output | ratio (least) | one read |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))
    phases = tidemill.phases()
    medians = {key: statistics.median(one[key] for one in phases) for key in phases[0]}
    print("Phases of our boots, median ms:", ", ".join(f"{key} {s * 1000:.1f}" for key, s in medians.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small-only", action="store_true", help="leave out the model with 1 GiB of weights")
    arguments = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    python = peer_python(CACHE, "safetensors", borrowed=Path(sysconfig.get_path("purelib")))
    with tempfile.TemporaryDirectory(prefix="tidemill-boot-") as folder:
        cases = prepare(python, Path(folder), small_only=arguments.small_only)
        tidemill = Tidemill(Path(folder) / "home")
        try:
            run(cases, python, tidemill, arguments.rounds)
        finally:
            tidemill.stack.down()


if __name__ == "__main__":
    main()

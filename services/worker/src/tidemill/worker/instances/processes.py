"""Finds the processes of an instance, orphans included. Blocking, read-only.

An orphan is no descendant any more, so the tree of parents is not enough. No process can leave its network namespace;
without namespaces, each child of a root worker has a uid of its own. With neither, only the tree of parents is left:
`tidemill worker status` says so.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = "/proc"


class RootProcess(NamedTuple):
    """An instance's first process, and its own uid; None if it shares the worker's."""

    pid: int
    uid: int | None = None


def of_instances(roots: Sequence[RootProcess]) -> list[list[int]]:
    """Return the processes of each instance, the root process first. One pass over all processes of the machine."""
    here = _network("self")
    networks = {network: at for at, root in enumerate(roots) if (network := _network(root.pid)) not in {None, here}}
    uids = {root.uid: at for at, root in enumerate(roots) if root.uid is not None and at not in networks.values()}
    apart = {*networks.values(), *uids.values()}
    found = [[root.pid] if at in apart else family(root.pid) for at, root in enumerate(roots)]
    if apart:
        own = {root.pid for root in roots}
        for pid in (int(name) for name in os.listdir(_PROC) if name.isdecimal()):  # noqa: PTH208  only the names are needed
            at = _owner(pid, networks, uids)
            if at is not None and pid not in own:
                found[at].append(pid)
    return found


def _owner(pid: int, networks: Mapping[int, int], uids: Mapping[int, int]) -> int | None:
    network = _network(pid) if networks else None
    at = None if network is None else networks.get(network)
    uid = _uid(pid) if at is None and uids else None
    return at if uid is None else uids.get(uid)


def _network(pid: int | str) -> int | None:
    """Return a number for the network namespace. /proc/PID/ns may be unreadable; this file is not."""
    try:
        return os.stat(f"{_PROC}/{pid}/net/dev").st_ino  # noqa: PTH116  called for each process every second
    except OSError:
        return None


def _uid(pid: int) -> int | None:
    """Return the real uid; /proc/PID of an undumpable process belongs to root."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"{_PROC}/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Uid:")).split()[1])
    return None


def family(pid: int) -> list[int]:
    """Return the process and its descendants; orphans are missing."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            children = Path(f"{_PROC}/{each}/task/{each}/children").read_text(encoding="ascii")
            found.extend(int(word) for word in children.split())
    return found

"""Which processes are an instance's, whoever their parent is by now. Blocking, read-only.

A process that was orphaned is no descendant any more, so parents tell little. What no process of a model can leave is
its network namespace; where there is none, root's children have a uid of their own. Where there is neither, the tree of
parents is all there is: `tidemill worker status` says so.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = "/proc"


class RootProcess(NamedTuple):
    """An instance's own process, and the uid that is its alone, if it has one."""

    pid: int
    uid: int | None = None


def of_instances(roots: Sequence[RootProcess]) -> list[list[int]]:
    """Of each the processes, its own first; all of them in one pass over the machine's."""
    here = _network("self")
    networks = {network: at for at, root in enumerate(roots) if (network := _network(root.pid)) not in {None, here}}
    uids = {root.uid: at for at, root in enumerate(roots) if root.uid is not None and at not in networks.values()}
    apart = {*networks.values(), *uids.values()}
    found = [[root.pid] if at in apart else family(root.pid) for at, root in enumerate(roots)]
    if apart:
        own = {root.pid for root in roots}
        for pid in (int(name) for name in os.listdir(_PROC) if name.isdecimal()):  # noqa: PTH208  names are all we need
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
    """A number for the network namespace; /proc/PID/ns is closed for processes that hide, this file is not."""
    try:
        return os.stat(f"{_PROC}/{pid}/net/dev").st_ino  # noqa: PTH116  asked for each process each second
    except OSError:
        return None


def _uid(pid: int) -> int | None:
    """The real one; the folder of a process that hides belongs to root."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"{_PROC}/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Uid:")).split()[1])
    return None


def family(pid: int) -> list[int]:
    """The process and its descendants, as far as they have not been handed to another parent."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            children = Path(f"{_PROC}/{each}/task/{each}/children").read_text(encoding="ascii")
            found.extend(int(word) for word in children.split())
    return found

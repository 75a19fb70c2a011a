"""The account that a server runs as. PostgreSQL refuses to run as root, so under root it runs as `nobody`.

A user namespace would need no copy of the data and programs, but containers forbid it by default, and inside it the
server would keep root's access to root's files. An ordinary account works everywhere.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class OsAccount:
    name: str
    uid: int
    gid: int


def for_postgres() -> OsAccount | None:
    """Return the account for PostgreSQL, or None if the current one will do."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    return OsAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)


def can_reach(account: OsAccount | None, path: Path) -> bool:
    """Return whether the mode bits let the account pass through every directory down to this one."""
    if account is None:
        return True
    return all(_may_pass(account, directory.stat()) for directory in (path, *path.parents))


def _may_pass(account: OsAccount, status: os.stat_result) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)

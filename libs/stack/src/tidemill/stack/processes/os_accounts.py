"""Whose rights a server runs with. PostgreSQL refuses to run as root, so root hands it to the account `nobody`.

A user namespace would do the same with no copies, but containers forbid it by default, and in there the server would
keep root's hold on root's files. An ordinary account works wherever root is root.
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
    """None means: as we are."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED)
    return OsAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)


def can_reach(account: OsAccount | None, path: Path) -> bool:
    """Whether the account may pass through every directory down to this one, by mode bits."""
    if account is None:
        return True
    return all(_may_pass(account, directory.stat()) for directory in (path, *path.parents))


def _may_pass(account: OsAccount, status: os.stat_result) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)

"""What tests ask of processes that are not their children, and of the system that they run on."""

import os
import subprocess

import psutil


def runs(pid: int) -> bool:
    """A zombie does not: whoever adopted it may take its time, or never look, as the first process of a container."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def gives_namespaces(uid: int | None = None) -> bool:
    """Whether the system lets this process, or an ordinary user, make namespaces; in a chroot users may make none."""
    user = [] if uid is None and os.geteuid() == 0 else ["--user"]
    command = ["unshare", *user, "--net", "--mount", "true"]
    return subprocess.run(command, user=uid, cwd="/", capture_output=True, check=False).returncode == 0

"""Runs hostile code in one sandbox after another, as root or as an ordinary user.

It acts as the worker, whose environment, signals and files the code attacks. It reads {"attempts", "user"} and writes a
list of results.
"""

import codecs
import ctypes
import json
import os
import select
import signal
import socket  # noqa: F401  an ordinary user may be unable to read root's interpreter later
import sys
import time
from pathlib import Path

from tidemill.model.sandbox import entry, syscalls
from tidemill.model.sandbox.settings import Sandbox

ATTEMPT_WITHIN_S = 60.0
for _encoding in ("ascii", "idna"):  # as above: each is a module
    codecs.lookup(_encoding)
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def call(number, *arguments):
    """A system call by its number; a Python int would be passed as a 32-bit one."""
    packed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = LIBC.syscall(ctypes.c_long(number), *packed)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def child():
    """A process of one's own that waits to be ended."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


def stay_harmless():
    """Without a sandbox, what root mounts must not outlive it all the same."""
    if os.geteuid() == 0:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)


def attempt(settings, code, worker):
    """Locks itself in and tries: what came of it, as text."""
    if settings["layers"] is None:
        stay_harmless()
    else:
        entry.enter(Sandbox.from_json(settings))
    os.chdir(settings["tmp"])
    try:
        exec(code, {"call": call, "child": child, "ctypes": ctypes, "os": os, "WORKER": worker})
    except (OSError, MemoryError, ValueError, AssertionError) as error:
        return f"blocked: {type(error).__name__}: {error}"
    return "went through"


def in_a_child(settings, code):
    read, write = os.pipe()
    worker, pid = os.getpid(), os.fork()
    if pid == 0:
        os.setsid()
        os.close(read)
        said = "blocked: it ended"
        try:
            said = attempt(settings, code, worker)
        except BaseException as error:  # noqa: BLE001  the boundary: the test reads it
            said = f"broken: {type(error).__name__}: {error}"
        finally:
            os.write(write, said.encode())
            os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], ATTEMPT_WITHIN_S)
    said = os.read(read, 64 * 1024).decode() if ready else "broken: it hangs"
    os.killpg(pid, signal.SIGKILL)  # not reaped yet, so the number is nobody else's
    os.close(read)
    reap()
    return said or "blocked: it was killed"


def reap():
    """All that the attempt started is this process's by now. The dead count against the limit of processes too."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    syscalls.prctl("dumpable", syscalls.PR_SET_DUMPABLE, 1)  # as of a process that was the user's from the start


def main():
    syscalls.prctl("subreaper", syscalls.PR_SET_CHILD_SUBREAPER, 1)
    request = json.load(sys.stdin)
    if request["user"] is not None:
        become(request["user"])
    said = []
    for each in request["attempts"]:
        Path(each["settings"]["tmp"]).mkdir(parents=True)
        said.append(in_a_child(each["settings"], each["code"]))
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()

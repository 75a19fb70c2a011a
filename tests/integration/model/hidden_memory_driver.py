"""Acts as a worker whose child hides memory in its sandbox, as root or as an ordinary user, and counts that memory.

It reads {"settings", "code", "user"} and writes {"said", "counted"}. It imports before it changes its uid: an ordinary
user may be unable to read root's interpreter.
"""

import codecs
import ctypes
import json
import mmap
import os
import signal
import sys
import time
from pathlib import Path

from tidemill.model.sandbox import entry, syscalls
from tidemill.model.sandbox.settings import Sandbox
from tidemill.worker.instances import processes, usage
from tidemill.worker.instances.processes import RootProcess

codecs.lookup("ascii")  # each encoding is a module, which the user may be unable to read


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    syscalls.prctl("dumpable", syscalls.PR_SET_DUMPABLE, 1)  # as of a process that was the user's from the start


def fill(size):
    held = bytearray(size)
    held[::4096] = b"x" * len(held[::4096])
    return held


def hide(settings, code, told):
    entry.enter(Sandbox.from_json(settings))
    os.chdir(settings["tmp"])
    space = {"ctypes": ctypes, "fill": fill, "mmap": mmap, "os": os, "time": time}
    try:
        exec(code, space)
    except OSError as error:
        os.write(told, f"blocked: {error}".encode())
    os.write(told, b".")
    time.sleep(60)


def main():
    asked = json.load(sys.stdin)
    syscalls.prctl("subreaper", syscalls.PR_SET_CHILD_SUBREAPER, 1)
    if asked["user"] is not None:
        become(asked["user"])
    Path(asked["settings"]["tmp"]).mkdir()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        hide(asked["settings"], asked["code"], write)
    os.close(write)
    said = os.read(read, 1000).decode()
    uid = asked["settings"]["uid"] if os.geteuid() == 0 and "identity" in asked["settings"]["layers"] else None
    (found,) = processes.of_instances([RootProcess(pid, uid)])
    json.dump({"said": said, "counted": usage.memory_bytes(found, 1)}, sys.stdout)
    for each in {*found, *processes.family(os.getpid())} - {os.getpid()}:
        os.kill(each, signal.SIGKILL)


if __name__ == "__main__":
    main()

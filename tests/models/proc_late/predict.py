"""What goes on after its prediction has ended, and says so; sync, async and in batches. `release` is a file that ends
the waiting, so that no test depends on time."""

import asyncio
import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

import cog
from cog import BasePredictor, Batch, current_scope

WAIT = "while [ ! -e {release} ]; do sleep 0.01; done; "


def wait(release: str) -> None:
    while release and not os.path.exists(release):
        time.sleep(0.01)


def say(text: str, release: str = "") -> None:
    wait(release)
    print("late", text)
    current_scope().record_metric("late", 1)


def say_and_fork(text: str, release: str) -> None:
    wait(release)
    subprocess.run(["/bin/echo", "late", text], check=True)


def fork(text: str, release: str) -> int:
    pid = os.fork()
    if pid == 0:
        say(text, release)
        sys.stdout.flush()
        os._exit(0)
    return pid


def shell(text: str, release: str) -> str:
    return WAIT.format(release=release) + f"echo late {text}"


WAYS = {
    "thread": lambda t, r: threading.Thread(target=say, args=(t, r), daemon=True).start(),
    "timer": lambda t, r: threading.Timer(0.01, say, (t, r)).start(),
    "executor": lambda t, r: ThreadPoolExecutor(1).submit(say, t, r),
    "pool": lambda t, r: ThreadPool(1).apply_async(say, (t, r)),
    "map": lambda t, r: ThreadPool(1).map_async(lambda text: say(text, r), [t]),
    "thread that starts a process": lambda t, r: threading.Thread(target=say_and_fork, args=(t, r)).start(),
    "subprocess": lambda t, r: subprocess.Popen(["/bin/sh", "-c", shell(t, r)]),
    "subprocess that is told where": lambda t, r: subprocess.Popen(
        ["/bin/sh", "-c", shell(t, r)], stdout=sys.stdout, stderr=subprocess.STDOUT
    ),
    "system": lambda t, r: os.system(f"({shell(t, r)}) &"),
    "spawn": lambda t, r: os.posix_spawn("/bin/sh", ["sh", "-c", shell(t, r)], os.environ),
    "fork": fork,
    "multiprocessing": lambda t, r: multiprocessing.get_context("fork").Process(target=say, args=(t, r)).start(),
    "daemon": lambda t, r: subprocess.Popen(["/bin/sh", "-c", f"({shell(t, r)}) &"], start_new_session=True).wait(),
}


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.executor = ThreadPoolExecutor(1)
        self.executor.submit(print, "warm").result()
        self.pool = ThreadPool(1)

    def predict(self, way: str = "", text: str = "", release: str = "", wait_for: str = "") -> object:
        if way in WAYS:
            WAYS[way](text, release)
        elif way:
            getattr(self, way)(text, release)
        wait(wait_for)
        print("said by", text)
        return text

    def by_executor(self, text: str, _release: str) -> None:
        self.executor.submit(say, text).result()

    def by_pool(self, text: str, _release: str) -> None:
        self.pool.map(say, [text])

    def late_by_executor(self, text: str, release: str) -> None:
        self.executor.submit(say, text, release)

    def half(self, text: str, _release: str) -> None:
        os.write(1, b"half \xc3")

    def half_of_python(self, text: str, _release: str) -> None:
        sys.stdout.buffer.write(b"half \xc3")

    def half_of_a_process(self, text: str, _release: str) -> None:
        subprocess.run(["/usr/bin/printf", r"half \303"], check=True)

    def c(self, text: str, _release: str) -> None:
        ctypes.CDLL(None).printf(f"C of {text}\n".encode())

    def redirected(self, text: str, _release: str) -> None:
        """Python's own output goes on, and the process's to the file, as the model wants it."""
        with open(os.path.join(os.environ["TMPDIR"], text), "w+b") as file:
            kept = os.dup(1)
            os.dup2(file.fileno(), 1)
            subprocess.run(["/bin/echo", "into the file"], check=True)
            os.dup2(kept, 1)
            file.seek(0)
            print(file.read().decode().strip())


class Async(BasePredictor):
    @cog.concurrent(max=4)
    async def predict(self, way: str = "", text: str = "", release: str = "", wait_for: str = "") -> str:
        loop = asyncio.get_running_loop()
        if way == "run_in_executor":
            await loop.run_in_executor(None, say, text)
        elif way == "to_thread":
            await asyncio.to_thread(say, text)
        elif way == "joined thread":
            thread = threading.Thread(target=say, args=(text,))
            thread.start()
            await asyncio.to_thread(thread.join)
        elif way == "process":
            process = await asyncio.create_subprocess_exec("/bin/echo", "late", text)
            await process.wait()
        elif way == "task":
            self.task = loop.create_task(asyncio.to_thread(say, text, release))
        elif way:
            WAYS[way](text, release)
        while wait_for and not os.path.exists(wait_for):
            await asyncio.sleep(0.01)
        print("said by", text)
        return text


class Batched(BasePredictor):
    @cog.batch(max_size=2, max_wait_ms=0)
    def predict(self, way: Batch[str], text: Batch[str], release: Batch[str], wait_for: Batch[str]) -> Batch[Any]:
        for each in zip(way, text, release, strict=True):
            if each[0]:
                WAYS[each[0]](*each[1:])
        for each in wait_for:
            wait(each)
        print("said by", *text)
        return list(text)

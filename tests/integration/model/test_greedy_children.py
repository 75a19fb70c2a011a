"""Children that say more than their share, or take the worker's ends away: what it costs them, and nobody else."""

import asyncio
import signal

import pytest

from tidemill.hosting.child.failures import child_failure, describe_exit
from tidemill.model.host import read_budget
from tidemill.model.host.child_events import Fault
from tidemill.model.wire.channel import CLOSED

CHANNEL = """
import gc, os, struct, time
gc.unfreeze()
from tidemill.model.wire.channel import Channel
(channel,) = [one for one in gc.get_objects() if type(one) is Channel]
data = channel._data
def frame(body):
    return struct.pack(">I", len(body)) + body
"""
FLOODS = {
    "tiny frames": CHANNEL
    + """
many = frame(b'{"t":"metric","id":"nobody","key":"k","value":1}') * 5000
while True: data.sendall(many)
""",
    "large frames": CHANNEL
    + """
large = frame(b'{"t":"metric","id":"x","key":"k","value":"%s"}' % (b"x" * 7_000_000))
while True: data.sendall(large)
""",
    "lines": "while True: print('x' * 10_000)",
    "lines of C code": "import os\nwhile True: os.write(1, b'x' * 60_000)",
    "lines of a process": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'])",
    "markers": """
import gc, os
gc.unfreeze()
from tidemill.model.logs.pipes import Pipes
(pipes,) = [one for one in gc.get_objects() if type(one) is Pipes]
while True: os.write(pipes._text, b"\\0a\\nx" * 10_000)
""",
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_child_that_floods_is_ended_and_others_are_served_meanwhile(launch, monkeypatch, kind):
    monkeypatch.setattr(read_budget, "FLOOD_S", 0.5)
    monkeypatch.setattr(read_budget, "BYTES_PER_S", 16 * 1024**2)  # less than this machine reads when it is busy
    monkeypatch.setattr(read_budget, "FRAMES_PER_S", 5000)
    flooding, other = await launch("proc_basic"), await launch("proc_basic")
    flooding.run("x", do="probe", text=FLOODS[kind])
    served = 0
    while flooding.ended is None:
        assert not flooding.of("done"), flooding.frames
        assert (await other.predict(f"p{served}", text="well"))["output"] == "well"
        served += 1
        for child in (flooding, other):
            child.frames.clear()
            child.pipe = b""
    assert served > 10
    assert (flooding.ended.signal, flooding.ended.fault) == (signal.SIGKILL, Fault.FLOOD)
    told = child_failure(flooding.ended, kernel_kills=1, printed=b"")
    assert (told.code, told.final) == ("model_flooded", True)


async def test_so_many_frames_are_taken_a_turn_of_the_loop(launch):
    """Between any two slices everybody else has a turn."""
    child = await launch("proc_basic")
    slices, turns = [], 0
    child.reject = lambda bodies: slices.append((len(bodies), turns))
    text = CHANNEL + 'data.sendall(frame(b\'{"t":"metric","id":"x","key":"k","value":1}\') * 5000)'
    child.run("x", do="probe", text=text)
    while not child.of("done", "x"):
        await asyncio.sleep(0)
        turns += 1
    assert sum(size for size, _ in slices) >= 5000
    assert max(size for size, _ in slices) <= 256
    assert len({turn for _, turn in slices}) >= len(slices) / 2


CLOSING = {
    "and waits": "import os, time\nos.closerange(3, 1000)\ntime.sleep(600)",
    "and goes on": "import os\nos.closerange(3, 1000)",
    "all of them": "import os\nos.closerange(0, 1000)",
    "and prints": "import os\nos.closerange(3, 1000)\nprint('x')",
}


@pytest.mark.parametrize("model", ["proc_basic", "proc_closes"])
@pytest.mark.parametrize("how", CLOSING)
async def test_a_child_that_closes_its_descriptors_is_told_so(launch, model, how):
    child = await launch(model)
    child.run("x", do="probe", text=CLOSING[how])
    ended = await child.exit()
    assert describe_exit(ended) == CLOSED
    assert "memory" not in child_failure(ended, kernel_kills=0, printed=b"").error


async def test_a_child_that_is_killed_is_not_said_to_have_closed_anything(launch):
    child = await launch("proc_basic")
    child.run("x", do="probe", text="import os; os.kill(os.getpid(), 9)")
    ended = await child.exit()
    assert (ended.signal, ended.poisoned) == (signal.SIGKILL, None)


PIPES = {
    "a file": "fd = os.open('/usr/bin/env', os.O_RDONLY)",
    "no file": "fd = None",
    "the other end": "_, fd = os.pipe()",
}


@pytest.mark.parametrize("what", PIPES)
async def test_what_is_no_pipe_breaks_the_rules_or_is_read_by_nobody(launch, what):
    code = (
        "import os, socket, json\n" + CHANNEL + PIPES[what] + "\n"
        'body = frame(b\'{"t":"pipe","ids":["x"],"standard":false,"files":[]}\')\n'
        "data.sendall(body) if fd is None else socket.send_fds(data, [body], [fd])\n"
        "result = 'sent'"
    )
    child, other = await launch("proc_basic"), await launch("proc_basic")
    child.run("x", do="probe", text=code)
    if what == "the other end":
        assert (await child.done("x"))["output"] == "sent"
    else:
        assert (await child.exit()).fault is Fault.PROTOCOL
    assert (await other.predict("y", text="well"))["output"] == "well"


async def test_a_pipe_that_a_child_makes_wait_holds_nobody_up(launch):
    """It may take away what was to be read, and make reads wait: the worker's own must not."""
    code = (
        "import os, socket, threading, time\n" + CHANNEL + "r, w = os.pipe()\n"
        'body = frame(b\'{"t":"pipe","ids":["x"],"standard":false,"files":[]}\')\n'
        "socket.send_fds(data, [body], [r])\n"
        "def steal():\n"
        "    while True: os.set_blocking(r, True); os.read(r, 1)\n"
        "threading.Thread(target=steal, daemon=True).start()\n"
        "end = time.monotonic() + 0.5\n"
        "while time.monotonic() < end: os.write(w, b'x')\n"
        "result = 'sent'"
    )
    child, other = await launch("proc_basic"), await launch("proc_basic")
    child.run("x", do="probe", text=code)
    served = 0
    while not child.of("done", "x"):
        assert (await other.predict(f"p{served}", text="well"))["output"] == "well"
        served += 1
    assert served > 5

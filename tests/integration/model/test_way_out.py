"""A model downloads through the worker's proxy, and reaches nothing else; secrets come with the boot alone."""

import asyncio
import json
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver

from tidemill.model.sandbox.settings import Sandbox
from tidemill.model.wire.spec import BootFrame, ChildSpec
from tidemill.security.egress.policy import AllowList, EgressPolicy
from tidemill.security.egress.proxy import EgressProxy, HostRules

SOURCE = str(Path(__file__).parents[2] / "models" / "proc_basic")
CONTENT = bytes(range(256)) * 4096
NAME = "files.example"
DOWNLOAD = """
import http.client, os, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=300)
connection.set_tunnel({host!r}, {port})
connection.request("GET", "/file")
result = len(connection.getresponse().read())
"""


class Names(AbstractResolver):
    async def resolve(self, host, port=0, family=socket.AF_INET):
        if host == NAME or host[0].isdigit():
            return [{"host": "127.0.0.1" if host == NAME else host, "port": port}]
        raise OSError("no such name")

    async def close(self):
        """Nothing is open."""


@pytest.fixture
async def files():
    """A server of one file; its port."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(CONTENT) + CONTENT)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@pytest.fixture
async def networked(launch, recorder, files):
    """A child with a way out, the end of which is a proxy that may reach the files' server."""
    told = []
    plain = recorder.on_frames
    listeners = asyncio.Queue()

    def on_frames(bodies, descriptors):
        rest = []
        for body in bodies:
            if json.loads(body)["t"] == "way_out":
                listeners.put_nowait(socket.socket(fileno=descriptors.popleft()))
            else:
                rest.append(body)
        plain(rest, descriptors)

    recorder.on_frames = on_frames
    async with AsyncExitStack() as stack:

        @asynccontextmanager
        async def start(secrets=None):
            tmp = str(launch.tmp())
            settings = Sandbox(tmp=tmp, read=(SOURCE,), uid=219_500 if os.geteuid() == 0 else None, way_out=True)
            boot = BootFrame("predict.py:Predictor", SOURCE, tmp, secrets=secrets or {})
            recorder.process = await launch.zygote.fork(ChildSpec(settings, {}, threads=1), boot, recorder)
            launch.children.append(recorder)
            policy = EgressPolicy(allow=AllowList.parse(f"127.0.0.1/32:{files}"))
            proxy = EgressProxy(policy, Names(), HostRules(), lambda *what: told.append(what))
            ready = await recorder.booted()
            if ready["t"] == "failed" and "network namespace" in ready["error"]:
                pytest.skip(ready["error"])
            async with proxy.serving(listeners.get_nowait()):
                yield recorder, told

        yield lambda **given: stack.enter_async_context(start(**given))


async def test_a_model_downloads_a_file_through_the_proxy(networked, files):
    child, told = await networked()
    done = await child.predict("x", do="probe", text=DOWNLOAD.format(host=NAME, port=files))
    assert done["output"] == len(CONTENT), done
    assert told == [(NAME, files, "connected")]


async def test_from_there_nothing_else_can_be_reached(networked, files):
    child, told = await networked()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        attempts = {
            "the server itself": f"import socket; socket.create_connection(('127.0.0.1', {files}), 2)",
            "the internet": "import socket; socket.create_connection(('1.1.1.1', 443), 2)",
            "a look-up": "import socket; socket.getaddrinfo('example.com', 443)",
            "listening": "import socket; socket.create_server(('127.0.0.1', 0))",
            "loopback of the worker": DOWNLOAD.format(host="127.0.0.1", port=port),
            "the metadata of a cloud": DOWNLOAD.format(host="169.254.169.254", port=80),
            "a private network": DOWNLOAD.format(host="10.0.0.1", port=443),
        }
        for number, (name, code) in enumerate(attempts.items()):
            done = await child.predict(str(number), do="probe", text=code)
            assert str(done["output"]).startswith("blocked: "), (name, done)
    assert {outcome for _, _, outcome in told} == {"refused"}
    assert len(told) == 3


async def test_without_a_way_out_there_is_no_proxy_to_be_found(launch):
    child = await launch("proc_basic")
    code = "import os; result = sorted(name for name in os.environ if 'proxy' in name.lower())"
    assert (await child.predict("x", do="probe", text=code))["output"] == []
    attempt = "import socket; socket.create_connection(('127.0.0.1', 3128), 2)"
    assert (await child.predict("y", do="probe", text=attempt))["output"].startswith("blocked: ")


async def test_where_there_is_no_namespace_there_is_no_way_out(launch):
    child = await launch.start("proc_basic", sandbox={"way_out": True, "layers": ("files", "limits"), "required": ()})
    failed = await child.booted()
    assert (failed["t"], failed["kind"]) == ("failed", "sandbox")
    assert "needs a network namespace" in failed["error"]


async def test_secrets_are_in_the_environment_of_their_child_and_of_no_other(launch):
    first = await launch("proc_basic", secrets={"HF_TOKEN": "correct-horse"})
    second = await launch("proc_basic")
    code = "import os; result = os.environ.get('HF_TOKEN')"
    assert (await first.predict("x", do="probe", text=code))["output"] == "correct-horse"
    assert (await second.predict("x", do="probe", text=code))["output"] is None
    inherited = "import subprocess; result = subprocess.run(['/usr/bin/env'], capture_output=True, text=True).stdout"
    assert "HF_TOKEN=correct-horse" in (await first.predict("y", do="probe", text=inherited))["output"]
    assert "correct-horse" not in repr(replace(BootFrame("a:b", "/", "/"), secrets={"HF_TOKEN": "correct-horse"}))

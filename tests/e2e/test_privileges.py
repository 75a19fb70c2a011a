"""Run-time secrets and the network of models, through the whole stack, and what operators see of it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.testing.processes import gives_namespaces

needs_namespaces = pytest.mark.skipif(not gives_namespaces(), reason="the way out needs a network namespace")
SECRET = "correct-horse-battery-staple"
FAR = "127.0.0.2"  # the stack's worker may reach it; its own servers are at 127.0.0.1
CONTENT = b"weights " * 50_000
PREDICT = """import http.client
import os
import urllib.parse

from cog import BasePredictor

print("imported with", os.environ.get("A_KEY"))


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("set up with", os.environ.get("A_KEY"), flush=True)

    def predict(self, do: str, host: str = "", port: int = 0) -> str:
        print("running with", os.environ.get("A_KEY"))
        os.system("echo a process with $A_KEY")
        if do == "fail":
            raise ValueError(f"the key {os.environ['A_KEY']} does not fit")
        if do == "key":
            return str(len(os.environ.get("A_KEY", "")))
        proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
        connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=300)
        connection.set_tunnel(host, port)
        connection.request("GET", "/file")
        return str(len(connection.getresponse().read()))
"""


def push(command, directory, name, *, network):
    directory.mkdir()
    (directory / "cog.yaml").write_text(f'predict: "predict.py:Predictor"\ntidemill:\n  network: {network}\n')
    (directory / "predict.py").write_text(PREDICT)
    pushed = command("push", f"local/{name}", directory)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr


@pytest.fixture(scope="module")
def models(stack, command, tmp_path_factory):
    home = tmp_path_factory.mktemp("privileges")
    push(command, home / "open", "e2e-open", network="true")
    push(command, home / "closed", "e2e-closed", network="false")
    push(command, home / "key", "e2e-key", network="false")
    program = Path(sys.executable).with_name("tidemill")
    words = [str(program), "secret", "set", "local/e2e-key", "A_KEY"]
    env = {**os.environ, **stack.env}
    subprocess.run(words, env=env, input=SECRET + "\n", text=True, check=True, capture_output=True)


async def predict(stack, model, **values):
    async with (
        stack.session() as session,
        session.post(
            f"/v1/models/local/{model}/predictions", json={"input": values}, headers={"Prefer": "wait=55"}
        ) as response,
    ):
        assert response.status == 201, await response.text()
        return await response.json()


@pytest.mark.usefixtures("models")
async def test_a_secret_reaches_its_model_and_no_log_or_error(stack, command):
    assert command("secret", "list", "local/e2e-key").stdout.startswith("A_KEY  ")
    done = await predict(stack, "e2e-key", do="key")
    assert (done["status"], done["output"]) == ("succeeded", str(len(SECRET))), done
    assert "running with [secret]" in done["logs"]
    assert "a process with [secret]" in done["logs"]
    failed = await predict(stack, "e2e-key", do="fail")
    assert failed["error"] == "the key [secret] does not fit"
    assert "[secret]" in failed["logs"]
    for each in (done, failed):
        assert SECRET not in json.dumps(each)
    assert (await predict(stack, "e2e-closed", do="key"))["output"] == "0"
    logs = [path.read_text(errors="replace") for path in stack.home.rglob("*.log")]
    assert logs
    assert not [text for text in logs if SECRET in text]


@needs_namespaces
@pytest.mark.usefixtures("models")
async def test_a_model_that_declared_it_downloads_and_reaches_nothing_of_ours(stack):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(CONTENT) + CONTENT)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, FAR, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        done = await predict(stack, "e2e-open", do="download", host=FAR, port=port)
        assert (done["status"], done["output"]) == ("succeeded", str(len(CONTENT))), done
        ours = int(stack.base_url.rpartition(":")[2])
        for host, at in (
            ("127.0.0.1", ours),
            ("localhost", ours),
            (FAR, ours),
            ("169.254.169.254", 80),
            ("10.0.0.1", 443),
        ):
            refused = await predict(stack, "e2e-open", do="download", host=host, port=at)
            assert refused["status"] == "failed", (host, refused)
            assert "403" in refused["error"]
        closed = await predict(stack, "e2e-closed", do="download", host=FAR, port=port)
        assert closed["status"] == "failed"
        assert "HTTPS_PROXY" in closed["error"]


@needs_namespaces
@pytest.mark.usefixtures("models")
async def test_operators_see_the_sandbox_and_what_runs_in_it(stack):
    done = await predict(stack, "e2e-open", do="key")
    assert done["status"] == "succeeded"

    async def shown():
        while True:
            for found in json.loads(await asyncio.to_thread(stack.tidemill, "worker", "status", "--json")):
                for instance in (found["report"] or {"instances": ()})["instances"]:
                    if instance["model"] == "local/e2e-open" and instance["memory_bytes"]:
                        return found["report"], instance
            await asyncio.sleep(0.5)

    report, instance = await asyncio.wait_for(shown(), 60)
    assert {layer["name"] for layer in report["layers"] if layer["on"]} >= {"network", "files", "syscalls"}
    assert (instance["state"], instance["network"], instance["trusted"]) == ("ready", True, False)
    assert set(instance["boot"]) >= {"fetch", "environment", "fork", "import", "setup", "total"}
    assert report["cache"]["made"] >= 1
    people = await asyncio.to_thread(stack.tidemill, "worker", "status")
    assert "local/e2e-open:" in people
    assert "for models that declare it" in people

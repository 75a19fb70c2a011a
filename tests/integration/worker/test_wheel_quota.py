"""Wheels that unpack to more than a worker's disk should take: refused before, or ended while, with their name."""

import http.server
import os
import threading
from pathlib import Path

import pytest

from tidemill.contracts.limits import MIB
from tidemill.hosting.environments.installer import Installer
from tidemill.hosting.environments.store import EnvironmentFailed, Environments
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.hosting.scratch import Scratch, remove_tree
from tidemill.hosting.wheels import size_check


@pytest.fixture
def ensure(tmp_path):
    """Builds the environment of these requirements within a limit."""

    async def ensure(*requirements, limit_bytes=2**40, say=lambda _: None):
        with Scratch(tmp_path) as scratch:
            installer = Installer(tmp_path / "uv", limit_bytes=limit_bytes)
            environments = Environments(tmp_path / "environments", installer, scratch)
            try:
                return await environments.ensure(ModelConfig(entry="p.py:P", requirements=requirements), say)
            finally:
                await environments.close()

    return ensure


def written(tmp_path):
    """What lies in the installer's cache and in environments, in bytes."""
    folders = (tmp_path / "uv", tmp_path / "environments", tmp_path / "scratch")
    return sum(
        (Path(folder) / name).lstat().st_size for top in folders for folder, _, names in os.walk(top) for name in names
    )


async def test_a_bomb_is_refused_before_it_is_unpacked(ensure, wheels, tmp_path):
    wheels("tidebomb", "1.0", zeros=[32] * 4)
    wheels("tideuser", "1.0", needs=["tidebomb"])
    with pytest.raises(EnvironmentFailed, match=r"tidebomb 1\.0 would unpack to 0\.1 GiB, 1,0\d\d times"):
        await ensure("tideuser")
    assert written(tmp_path) < MIB


async def test_packages_that_are_too_large_together_are_refused(ensure, wheels, tmp_path):
    for name in ("tideone", "tidetwo"):
        wheels(name, "1.0", zeros=[35])
    with pytest.raises(EnvironmentFailed, match=r"unpack to 70\.0 MiB together.*may have 60\.0 MiB.*tideone 1\.0"):
        await ensure("tideone", "tidetwo", limit_bytes=60 * MIB)
    assert written(tmp_path) < MIB
    assert (await ensure("tideone", limit_bytes=60 * MIB)).site is not None


async def test_what_writes_more_than_it_says_is_ended_and_cleared_away(ensure, wheels, tmp_path, monkeypatch):
    monkeypatch.setattr(size_check, "read_contents", lambda _url: None)
    wheels("tideliar", "1.0", zeros=[600])
    with pytest.raises(EnvironmentFailed, match=r"unpacking tideliar 1\.0 wrote more than the 50\.0 MiB"):
        await ensure("tideliar", limit_bytes=50 * MIB)
    assert written(tmp_path) < MIB
    assert list((tmp_path / "uv" / "cache").glob(".tmp*")) == []


@pytest.fixture
def served(tmp_path, wheels, monkeypatch):
    """The wheels as an index serves them, with or without ranges."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        ranges = True

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "wheels"))

        def do_HEAD(self):
            path = tmp_path / "wheels" / self.path.rpartition("/")[2]
            self.send_response(200)
            if self.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()

        def do_GET(self):
            wanted = self.headers.get("Range")
            path = tmp_path / "wheels" / self.path.rpartition("/")[2]
            if not (self.ranges and wanted and path.is_file()):
                return super().do_GET()
            data = path.read_bytes()
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            first = int(start) if start else max(0, len(data) - int(stop))
            last = int(stop) if start and stop else len(data) - 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            self.wfile.write(data[first : last + 1])
            return None

        def log_message(self, *_):
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("UV_FIND_LINKS", f"http://127.0.0.1:{server.server_port}/")
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


async def test_another_version_that_is_no_bomb_is_taken(ensure, wheels):
    wheels("tidebomb", "2.0", zeros=[100])
    wheels("tidebomb", "1.0")
    environment = await ensure("tidebomb")
    assert [path.name for path in environment.site.glob("*.dist-info")] == ["tidebomb-1.0.dist-info"]


async def test_a_bomb_of_an_index_is_refused_before_it_is_fetched(ensure, wheels, served, tmp_path):
    wheels("tidebomb", "1.0", zeros=[100])
    with pytest.raises(EnvironmentFailed, match=r"tidebomb 1\.0 would unpack to"):
        await ensure("tidebomb")
    assert written(tmp_path) < 2 * MIB


async def test_a_bomb_of_an_index_that_cannot_be_looked_at_is_ended(ensure, wheels, served, tmp_path):
    served.ranges = False
    wheels("tidebomb", "1.0", zeros=[600])
    with pytest.raises(EnvironmentFailed, match=r"wrote more than the 50\.0 MiB that a model's environment may have"):
        await ensure("tidebomb", limit_bytes=50 * MIB)
    assert written(tmp_path) < 2 * MIB


async def test_what_no_environment_has_any_more_leaves_the_installers_cache(ensure, wheels, tmp_path):
    wheels("tideold", "1.0", module=f"VALUE = {'x' * MIB!r}\n")
    environment = await ensure("tideold")
    installer = Installer(tmp_path / "uv")
    assert not await installer.trim(MIB // 2)  # an environment has it by links of its own
    remove_tree(environment.site.parent)
    assert not await installer.trim(2 * MIB)
    assert await installer.trim(MIB // 2)
    assert written(tmp_path) < MIB // 2
    assert ((await ensure("tideold")).site / "tideold.py").exists()

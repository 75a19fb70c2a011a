import asyncio
import importlib.metadata
import os
import subprocess
import sys
import tarfile

import pytest

from tidemill.hosting.environments.installer import Installer, InstallFailed
from tidemill.hosting.environments.store import EnvironmentFailed, Environments
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.hosting.scratch import Scratch
from tidemill.testing.processes import runs

SIX = """
import sys
print("the module was imported", file=sys.stderr)
VALUE = 42
"""
EVIL = "open({marker!r}, 'w').close()\n"


@pytest.fixture
def scratch(tmp_path):
    with Scratch(tmp_path) as scratch:
        yield scratch


@pytest.fixture
def environments(tmp_path, scratch):
    return Environments(tmp_path / "environments", Installer(tmp_path / "uv"), scratch)


def config(*requirements):
    return ModelConfig(entry="predict.py:P", requirements=requirements)


def run(environment, code):
    """As a child does: the environment's packages in front of the interpreter's."""
    prelude = f"import sys; sys.path.insert(0, {str(environment.site)!r});"
    done = subprocess.run([environment.python, "-c", prelude + code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_packages_are_importable_and_compiled(environments, wheels):
    wheels("tidetest", "1.0", module=SIX)
    wheels("tidetop", "2.0", needs=["tidetest>=1"])
    printed = []
    environment = await environments.ensure(config("tidetop"), printed.append)
    assert "+ tidetest==1.0" in "".join(printed)
    assert run(environment, "import tidetest, tidetop; print(tidetest.VALUE)") == "42"
    assert list((environment.site / "__pycache__").glob("tidetest*.pyc"))


async def test_building_runs_nothing_of_what_is_installed(environments, wheels, tmp_path):
    marker = tmp_path / "executed"
    evil = EVIL.format(marker=str(marker))
    for module in ("sitecustomize", "usercustomize", "encodings_evil", "compileall", "numpy"):
        wheels(module, "1.0", module=evil)
    environment = await environments.ensure(
        config("sitecustomize", "usercustomize", "encodings-evil", "compileall", "numpy==1.0")
    )
    assert (environment.site / "sitecustomize.py").exists()
    assert not marker.exists()
    assert environment.preload == ()


async def test_the_workers_own_packages_stand_in(environments, wheels):
    """What needs a package of the worker's shared ones resolves against it, and it is not installed again."""
    try:
        version = importlib.metadata.version("numpy")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("this interpreter has no numpy to share")
    wheels("needsnumpy", "1.0", needs=[f"numpy=={version}"])
    environment = await environments.ensure(config("needsnumpy"))
    assert sorted(path.name for path in environment.site.glob("*.dist-info")) == ["needsnumpy-1.0.dist-info"]
    assert environment.preload == ("numpy",)
    assert run(environment, "import numpy, needsnumpy, importlib.metadata as m; print(m.version('numpy'))") == version


async def test_what_the_worker_has_does_not_fit(environments, wheels):
    """A transitive need for another version: the second way, without sharing, has a solution."""
    wheels("needsold", "1.0", needs=["numpy==0.1"])
    wheels("numpy", "0.1")
    printed = []
    environment = await environments.ensure(config("needsold"), printed.append)
    assert environment.preload == ()
    assert (environment.site / "numpy.py").exists()
    assert run(environment, "import numpy; print(numpy.VALUE)") == "1"


async def test_no_solution(environments, wheels):
    with pytest.raises(EnvironmentFailed, match="gone was not found"):
        await environments.ensure(config("gone"))


async def test_an_index_that_cannot_be_reached(environments, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    printed = []
    with pytest.raises(EnvironmentFailed, match=r"127\.0\.0\.1:9"):
        await environments.ensure(config("six"), printed.append)
    assert "127.0.0.1:9" not in "".join(printed)  # the error tells it


async def test_source_distributions_are_refused(environments, wheels, tmp_path):
    package = tmp_path / "srconly-1.0"
    package.mkdir()
    (package / "setup.py").write_text(EVIL.format(marker=str(tmp_path / "executed")))
    (package / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: srconly\nVersion: 1.0\n")
    with tarfile.open(tmp_path / "wheels" / "srconly-1.0.tar.gz", "w:gz") as archive:
        archive.add(package, "srconly-1.0")
    with pytest.raises(EnvironmentFailed, match="building from source is disabled"):
        await environments.ensure(config("srconly"))
    assert not (tmp_path / "executed").exists()


async def test_the_worker_s_secrets_are_not_the_installer_s(monkeypatch, tmp_path):
    monkeypatch.setenv("TIDEMILL_S3_SECRET_KEY", "secret")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    environment = Installer(tmp_path)._environment(os.environ)
    assert "TIDEMILL_S3_SECRET_KEY" not in environment
    assert "VIRTUAL_ENV" not in environment
    assert environment["UV_OFFLINE"] == "1"
    assert environment["HTTPS_PROXY"] == "http://proxy"
    assert environment["UV_CACHE_DIR"] == str(tmp_path / "cache")


async def test_an_installer_that_hangs_is_ended_with_all_it_started(tmp_path, scratch):
    installer = Installer(tmp_path / "uv")
    pids = tmp_path / "pids"
    script = (
        "import os, subprocess, sys; child = subprocess.Popen(['sleep', '600']);"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}'); child.wait()"
    )
    with pytest.raises(InstallFailed, match="longer than 2 s"):
        await installer._execute([sys.executable, "-c", script, str(pids)], tmp_path, print, 2)
    async with asyncio.timeout(120):
        for pid in map(int, pids.read_text().split()):
            while runs(pid):
                await asyncio.sleep(0.02)


async def test_output_is_passed_on_within_limits(tmp_path):
    printed = []
    status, tail = await Installer(tmp_path)._execute(
        [sys.executable, "-c", "print('é' * 500_000); print('the end')"], tmp_path, printed.append, 60
    )
    assert status == 0
    assert tail.endswith("the end\n")
    assert len("".join(printed)) == 64 * 1024
    assert len(tail) == 4000


async def test_a_python_of_the_system_is_found(tmp_path, scratch):
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    installer = Installer(tmp_path / "uv", python_downloads=False)
    with scratch.directory() as directory:
        found = await installer.find_python(version, directory, print)
        assert found is not None
        assert found.exists()
        assert await installer.find_python("3.99", directory, print) is None

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import pytest

from tidemill.hosting.environments import store as module
from tidemill.hosting.environments.installer import InstallFailed, Unsolvable
from tidemill.hosting.environments.interpreters import OWN_VERSION, own_without_packages
from tidemill.hosting.environments.shared_packages import SharedPackage
from tidemill.hosting.environments.store import EnvironmentFailed, Environments
from tidemill.hosting.model_config.cog_yaml import ModelConfig
from tidemill.hosting.scratch import Scratch
from tidemill.testing.tasks import shortly

PACKAGES = (SharedPackage("numpy", "2.4.0", ()), SharedPackage("torch", "2.9.1", ("numpy",)))


class FakeInstaller:
    """Installs a folder for each requirement; `errors` are raised one after the other; `resolves` names stand-ins."""

    def __init__(self):
        self.wanted, self.errors, self.resolves, self.pythons, self.gate = [], [], (), {}, None

    async def install(self, wanted, target, scratch, say):
        self.wanted.append(wanted)
        say("installing\n")
        if self.gate is not None:
            await self.gate.wait()
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error
        for requirement in wanted.requirements:
            (target / requirement).mkdir()
        for name in self.resolves if wanted.find_links else ():
            (target / f"{name}-1+tidemill.dist-info").mkdir()

    async def find_python(self, version, scratch, say):
        return self.pythons.get(version)

    async def compile(self, python, site):
        pass

    async def trim(self, limit_bytes):
        self.trimmed = limit_bytes
        return True


@pytest.fixture
def installer():
    return FakeInstaller()


@pytest.fixture
def make(tmp_path, installer, monkeypatch):
    monkeypatch.setattr(module.shared_packages, "find_shared_packages", lambda: PACKAGES)
    with Scratch(tmp_path) as scratch:
        yield lambda: Environments(tmp_path / "environments", installer, scratch)


def config(*requirements, python=None):
    return ModelConfig(entry="predict.py:P", requirements=requirements, python_version=python)


async def test_no_requirements_build_nothing(make, installer):
    environment = await make().ensure(config())
    assert (environment.digest, environment.zygote, environment.preload, environment.site) == ("base", "base", (), None)
    assert environment.python == Path(sys.executable)
    assert Path(sys.base_prefix).resolve() in environment.read_paths
    assert installer.wanted == []


async def test_packages_of_the_worker_build_nothing_but_are_preloaded(make, installer):
    environment = await make().ensure(config("numpy", "torch>=2"))
    assert environment.zygote == "base-torch-numpy"
    assert environment.preload == ("torch", "numpy")
    assert environment.site is None
    assert installer.wanted == []


async def test_an_environment_is_built_once(make, installer, tmp_path):
    environments = make()
    printed = []
    first = await environments.ensure(config("six"), printed.append)
    assert printed == ["installing\n"]
    assert (first.site / "six").is_dir()
    assert first.zygote == "base"
    assert first.site.parent.resolve() in first.read_paths
    assert await environments.ensure(config("six")) == first
    assert await make().ensure(config("six")) == first
    assert len(installer.wanted) == 1
    assert (await environments.ensure(config("attrs"))).digest != first.digest


async def test_concurrent_callers_share_the_build(make, installer):
    installer.gate = asyncio.Event()
    environments = make()
    asking = [asyncio.create_task(environments.ensure(config("six"))) for _ in range(3)]
    await shortly(lambda: installer.wanted)
    installer.gate.set()
    assert len({(await one).digest for one in asking}) == 1
    assert len(installer.wanted) == 1


async def test_a_build_elsewhere_on_the_machine_is_waited_for(make, installer, tmp_path):
    environments = make()
    digest = (await environments.ensure(config("six"))).digest
    module.remove_tree(tmp_path / "environments" / digest)
    lock = os.open(tmp_path / "environments" / f"{digest}.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    asking = asyncio.create_task(environments.ensure(config("six")))
    await asyncio.sleep(0.05)
    assert len(installer.wanted) == 1
    os.close(lock)
    await asking
    assert len(installer.wanted) == 2


async def test_shared_packages_that_were_chosen_are_preloaded(make, installer):
    installer.resolves = ("torch", "numpy")
    environment = await make().ensure(config("transformers"))
    assert environment.preload == ("torch", "numpy")
    assert environment.zygote == "base-torch-numpy"
    assert [path.name for path in environment.site.iterdir()] == ["transformers"]


async def test_less_is_shared_when_there_is_no_solution(make, installer):
    installer.resolves = ("torch",)
    installer.errors = [Unsolvable("x"), None]
    printed = []
    environment = await make().ensure(config("old-thing"), printed.append)
    assert environment.preload == ()  # what torch imports may be the environment's own
    assert environment.zygote == "base"
    assert module.RETRY_NOTE in printed


async def test_a_pinned_torch_shares_nothing(make, installer):
    environment = await make().ensure(config("torch==2.1.0"))
    assert environment.python == own_without_packages()
    assert environment.preload == ()
    assert environment.zygote == f"python {own_without_packages()}"
    assert installer.wanted[0].find_links == ()


async def test_no_solution_at_all_is_the_authors_error(make, installer, tmp_path):
    installer.errors = [Unsolvable("a"), Unsolvable("b"), Unsolvable("because six is too old")]
    with pytest.raises(EnvironmentFailed, match="because six is too old"):
        await make().ensure(config("six"))
    assert [path.name for path in (tmp_path / "environments").iterdir() if path.is_dir()] == []
    await make().ensure(config("six"))


async def test_a_network_error_is_not_tried_with_less(make, installer):
    installer.errors = [InstallFailed("error: request failed")]
    with pytest.raises(EnvironmentFailed, match="request failed"):
        await make().ensure(config("six"))
    assert len(installer.wanted) == 1


async def test_a_half_built_environment_is_built_again(make, tmp_path, installer):
    environment = await make().ensure(config("six"))
    (tmp_path / "environments" / environment.digest / "environment.json").unlink()
    (environment.site / "stray").mkdir()
    again = await make().ensure(config("six"))
    assert not (again.site / "stray").exists()


async def test_the_worker_s_own_python_by_any_spelling(make):
    assert (await make().ensure(config(python=OWN_VERSION))).digest == "base"
    assert (await make().ensure(config(python=f"{OWN_VERSION}.1"))).digest == "base"


async def test_another_python_where_there_is_one(make, installer, tmp_path):
    other = tmp_path / "python" / "bin" / "python3.13"
    other.parent.mkdir(parents=True)
    other.write_text("")
    installer.pythons["3.13"] = other
    environment = await make().ensure(config("six", python="3.13"))
    assert environment.python == other
    assert environment.zygote == f"python {other}"
    assert (tmp_path / "python").resolve() in environment.read_paths
    assert environment.preload == ()
    assert environment.warnings == ()
    assert installer.wanted[0].find_links == ()
    assert (await make().ensure(config(python="3.13"))).python == other


async def test_a_python_that_is_not_available(make):
    environment = await make().ensure(config("six", python="3.14"))
    assert environment.python == Path(sys.executable)
    assert environment.warnings == (f"The model runs on Python {OWN_VERSION}: 3.14 cannot be had on this machine.",)


@pytest.mark.parametrize(
    ("requirement", "python", "reason"),
    [("six", "3.9", "3.9 is too old"), ("torch", "3.13", "only there the worker's torch can be shared")],
)
async def test_why_the_worker_s_own_python(make, installer, tmp_path, requirement, python, reason):
    installer.pythons[python] = tmp_path
    environment = await make().ensure(config(requirement, python=python))
    assert environment.warnings == (f"The model runs on Python {OWN_VERSION}: {reason}.",)


async def test_eviction_takes_the_least_recently_used_that_no_instance_uses(make, installer, tmp_path):
    environments = make()
    built = [await environments.ensure(config(name)) for name in ("one", "two", "three")]
    for age, environment in enumerate(built):
        (environment.site / "payload").write_bytes(b"x" * 1000)
        os.utime(environment.site.parent / "environment.json", (age + 1, age + 1))
    assert await environments.evict(2500, in_use={built[0].digest}) == (built[1].digest,)
    assert not built[1].site.exists()
    assert built[0].site.exists()
    assert built[2].site.exists()
    assert installer.trimmed == 2500 // module.CACHE_PART

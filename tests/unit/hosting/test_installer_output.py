"""The author sees uv's progress as it comes, and its reason once, in the error."""

import pytest

from tidemill.hosting.environments import installer as module
from tidemill.hosting.environments.installer import Installer, InstallFailed, InstallRequest, Unsolvable

REASON = "No solution found\n  cause: Because torch==99 was not found and you require it, there is none.\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install with a fake uv that prints a text and exits with a status. Return what was passed on."""

    async def run(text, status):
        uv = tmp_path / "uv"
        uv.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {status}\n")
        uv.chmod(0o755)
        monkeypatch.setattr(module, "find_uv_bin", lambda: str(uv))
        said = []
        wanted = InstallRequest(python=tmp_path, requirements=())
        try:
            await Installer(tmp_path / "home").install(wanted, tmp_path / "site", tmp_path, said.append)
        except InstallFailed as failed:
            return "".join(said), failed
        return "".join(said), None

    return run


async def test_a_failed_install_says_why_once(install):
    said, failed = await install(f"Using CPython 3.11\nerror: {REASON}", 1)
    assert said == "Using CPython 3.11\n"
    assert isinstance(failed, Unsolvable)
    assert str(failed) == REASON.strip()


async def test_another_failure_too(install):
    said, failed = await install("Resolved 3 packages\nerror: Failed to fetch: https://example.com/a.whl\n", 2)
    assert said == "Resolved 3 packages\n"
    assert str(failed) == "Failed to fetch: https://example.com/a.whl"


async def test_a_failure_without_a_reason_reports_all_output(install):
    said, failed = await install("strange\n", 2)
    assert (said, str(failed)) == ("strange\n", "strange")


async def test_the_output_of_a_success_is_passed_on_whole(install):
    text = "Resolved 3 packages\nerror: a package that is called so\nInstalled\n"
    assert await install(text, 0) == (text, None)

"""Fixtures that folders share; and which tests share a process when several run side by side: those of one folder,
since they share its servers.
"""

from pathlib import PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tidemill.testing.fixtures"]


class ByFolder(LoadScopeScheduling):
    """xdist's own groups (`loadgroup`) come to nothing with pytest 9.2, which lets nobody add to the id of a test."""

    def _split_scope(self, nodeid: str) -> str:
        return "/".join(PurePosixPath(nodeid.partition("::")[0]).parent.parts[:3])


@pytest.hookimpl(optionalhook=True)  # xdist may be switched off
def pytest_xdist_make_scheduler(config, log):
    return ByFolder(config, log)

"""Which tests share a process when several run side by side: those of one folder, since they share its servers."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the marks
def pytest_collection_modifyitems(items):
    for item in items:
        folder = item.path.relative_to(ROOT).parent
        item.add_marker(pytest.mark.xdist_group("/".join(folder.parts[:2])))

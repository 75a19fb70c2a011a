"""The writer's modules, which import each other by bare names."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

WRITER = Path(__file__).parents[3] / "deploy" / "catalogue" / "writer"


@pytest.fixture(scope="module")
def modules(request: pytest.FixtureRequest) -> Iterator[dict[str, ModuleType]]:
    """Those that the tests' MODULES names, imported as in the model's folder, and taken out again."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(WRITER))
        yield {name: __import__(name) for name in request.module.MODULES}
        for name in request.module.MODULES:
            del sys.modules[name]
    torch.set_num_threads(threads)

"""Names: a class name stands for one thing within a service or library."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent for path in [*ROOT.glob("services/*/src"), *ROOT.glob("libs/*/src")])


def class_names(source):
    """The classes that a module defines, nested and private ones too."""
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def repeated(sources):
    """The class names that several of these modules, or one of them twice, define."""
    counted = Counter(name for source in sources for name in class_names(source))
    return {name for name, times in counted.items() if times > 1}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_class_name_stands_for_one_thing_within_a_package(package):
    assert not repeated(path.read_text() for path in sorted((package / "src").rglob("*.py")))


def test_a_repeated_name_is_found():
    """The control: private, nested and in two modules."""
    assert repeated(["class _Page: ...", "class Feed:\n    class _Page: ..."]) == {"_Page"}
    assert not repeated(["class Page: ...", "class Pages: ..."])

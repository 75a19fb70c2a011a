"""Which files of a directory belong to its model."""

import os

import pytest

from tidemill.cli.errors import CommandError
from tidemill.cli.model_directory.bundle import list_files, list_paths

FILES = ("cog.yaml", "predict.py", "data/a.bin", "pkg/data/code.py", "pkg/b.bin", "c.bin", "keep.bin", "notes/x/y.md")


@pytest.fixture
def directory(tmp_path):
    for name in (*FILES, ".git/config", "pkg/__pycache__/predict.pyc", ".venv/lib/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def kept(directory, *patterns):
    (directory / ".dockerignore").write_text("\n".join(patterns))
    return set(list_paths(directory)) - {".dockerignore"}


def test_files_that_never_belong_to_a_model_are_left_out(directory):
    assert set(list_paths(directory)) == set(FILES)


@pytest.mark.parametrize(
    ("patterns", "left_out"),
    [
        (["data"], {"data/a.bin"}),  # at the root only, as Docker reads it
        (["/data/"], {"data/a.bin"}),
        (["./data/../data"], {"data/a.bin"}),
        (["**/data"], {"data/a.bin", "pkg/data/code.py"}),
        (["*.bin"], {"c.bin", "keep.bin"}),
        (["**/*.bin", "!keep.bin"], {"data/a.bin", "pkg/b.bin", "c.bin"}),
        (["*/*.bin"], {"data/a.bin", "pkg/b.bin"}),
        (["# *", "", "  c.bin  ", "."], {"c.bin"}),
        (["c.bin", "!*.bin"], set()),
        (["notes", "!notes/x/y.md"], set()),
        (["*", "!predict.py", "!pkg/data"], {"data/a.bin", "pkg/b.bin", "c.bin", "keep.bin", "notes/x/y.md"}),
    ],
)
def test_dockerignore_excludes_files(directory, patterns, left_out):
    assert kept(directory, *patterns) == set(FILES) - left_out


def test_cog_yaml_is_never_excluded(directory):
    assert kept(directory, "*") == {"cog.yaml"}


def test_unreadable_files_are_named(directory):
    (directory / ".dockerignore").write_bytes(b"\xff")
    with pytest.raises(CommandError, match="dockerignore is not UTF-8"):
        list_paths(directory)
    (directory / ".dockerignore").unlink()
    (directory / "predict.py").chmod(0)
    if os.geteuid() != 0:  # who reads everything
        with pytest.raises(CommandError, match=r"predict\.py cannot be read: Permission denied"):
            list_files(directory)


def test_a_directory_without_a_configuration_and_the_next_step(tmp_path):
    with pytest.raises(CommandError, match=r"has no cog.yaml; one line will do"):
        list_paths(tmp_path)

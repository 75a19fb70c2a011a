import os
import stat

import pytest

from tidemill.model.host import working_directory
from tidemill.model.host.working_directory import make


@pytest.fixture
def source(tmp_path):
    """As the worker's cache has it: read-only files and directories."""
    version = tmp_path / "version"
    (version / "lib").mkdir(parents=True)
    (version / "predict.py").write_text("x = 1\n")
    (version / "lib" / "tool.sh").write_text("#!/bin/sh\n")
    (version / "weights.bin").write_bytes(bytes(working_directory.COPIED_FILE_LIMIT_BYTES + 1))
    for file, mode in ((version / "predict.py", 0o444), (version / "lib" / "tool.sh", 0o555)):
        file.chmod(mode)
    for directory in (version / "lib", version):
        directory.chmod(0o555)
    yield version
    for directory in (version / "lib", version):
        directory.chmod(0o755)


def test_small_files_are_copies_that_may_be_written(source, tmp_path):
    work = tmp_path / "work"
    make(source, work)
    (work / "predict.py").write_text("x = 2\n")
    (work / "out.png").write_bytes(b"png")
    (work / "lib" / "new").write_text("new")
    assert (source / "predict.py").read_text() == "x = 1\n"
    assert sorted(path.name for path in source.iterdir()) == ["lib", "predict.py", "weights.bin"]
    assert (work / "predict.py").stat().st_ino != (source / "predict.py").stat().st_ino


def test_large_files_are_links_and_never_hard_ones(source, tmp_path):
    work = tmp_path / "work"
    make(source, work)
    assert (work / "weights.bin").readlink() == source / "weights.bin"
    assert (source / "weights.bin").stat().st_nlink == 1
    (work / "weights.bin").unlink()  # a model may replace it
    (work / "weights.bin").write_bytes(b"own")
    assert (source / "weights.bin").stat().st_size == working_directory.COPIED_FILE_LIMIT_BYTES + 1


def test_what_could_be_executed_still_can(source, tmp_path):
    make(source, tmp_path / "work")
    assert stat.S_IMODE((tmp_path / "work" / "lib" / "tool.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "work" / "predict.py").stat().st_mode) == 0o644


@pytest.mark.parametrize(("name", "value"), [("COPIED_FILES_LIMIT", 1), ("COPIED_LIMIT_BYTES", 6)])
def test_beyond_the_limits_links_are_made_the_top_first(source, tmp_path, monkeypatch, name, value):
    monkeypatch.setattr(working_directory, name, value)
    make(source, tmp_path / "work")
    assert not (tmp_path / "work" / "predict.py").is_symlink()
    assert (tmp_path / "work" / "lib" / "tool.sh").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_all_of_it_belongs_to_the_instance(source, tmp_path):
    make(source, tmp_path / "work", 219_990)
    found = [tmp_path / "work", *(tmp_path / "work").rglob("*")]
    assert len(found) == 5
    assert {path.lstat().st_uid for path in found} == {219_990}
    assert {path.lstat().st_uid for path in [source, *source.rglob("*")]} == {0}


def test_it_takes_only_a_place_that_is_free(source, tmp_path):
    (tmp_path / "work").mkdir()
    with pytest.raises(FileExistsError):
        make(source, tmp_path / "work")

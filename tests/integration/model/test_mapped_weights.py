"""Weights that a model maps are the pages of the cache's own file: nothing on the way copies them."""

import mmap
import os
import shutil
from pathlib import Path

import pytest

from tidemill.model.host import working_directory

MODEL = Path(__file__).parents[2] / "models" / "proc_mapped"
SIZE = 8 * 1024 * 1024
UID = 219_900


@pytest.fixture
def version(common_directory):
    """As the cache makes it: read-only, the weights a hard link to their blob."""
    home = common_directory / "mapped"
    shutil.copytree(MODEL, home / "src")
    (home / "blob").write_bytes(b"\1" * SIZE)
    (home / "blob").chmod(0o444)
    os.link(home / "blob", home / "src" / "weights.bin")
    yield home / "src"
    shutil.rmtree(home)


async def test_instances_map_the_file_in_the_cache_and_share_its_pages(launch, version):
    children = []
    for number in range(2):
        uid = UID + number if os.geteuid() == 0 else None
        work = launch.tmp() / "src"
        working_directory.make(version, work, uid)
        sandbox = {"work": str(work), "read": (str(version),), "uid": uid}
        children.append(await launch("proc_mapped", sandbox=sandbox, directory=str(work)))
    for child in children:
        done = await child.predict("1")
        assert done["output"]["read"] == SIZE // mmap.PAGESIZE
    for child in children:  # both have read all of it by now
        mapped = (await child.predict("2"))["output"]
        assert mapped["inode"] == (version.parent / "blob").stat().st_ino
        assert mapped["private_dirty_kb"] == 0

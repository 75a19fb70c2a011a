import struct

import pytest

from tidemill.model.sandbox import landlock


@pytest.mark.parametrize(("abi", "size"), [(3, 8), (4, 16), (5, 16), (6, 24), (7, 24), (9, 24)])
def test_the_ruleset_has_the_members_that_the_abi_knows(abi, size):
    attr = landlock.ruleset_attr(abi)
    assert len(attr) == size
    members = struct.unpack(f"={size // 8}Q", attr)
    assert members[0] == landlock.handled_fs(abi)
    assert members[1:] == (3, 3)[: len(members) - 1]


@pytest.mark.parametrize(
    ("abi", "bits"), [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (6, 16), (7, 16), (8, 16), (9, 17)]
)
def test_file_rights_grow_with_the_abi(abi, bits):
    assert landlock.handled_fs(abi) == (1 << bits) - 1


def test_a_rule_is_packed():
    assert landlock.path_beneath_attr(landlock.READ, 7) == struct.pack("<Q", landlock.READ) + struct.pack("<i", 7)
    assert len(landlock.path_beneath_attr(landlock.WRITE, 7)) == 12


def test_what_may_be_written_makes_no_devices():
    assert not landlock.WRITE & (landlock.MAKE_CHAR | landlock.MAKE_BLOCK | landlock.IOCTL_DEV)
    assert not landlock.READ & landlock.WRITE_FILE


def test_signals_are_scoped_since_abi_6():
    assert [landlock.scopes_signals(abi) for abi in (3, 5, 6, 7)] == [False, False, True, True]

"""Which wheels are refused before they are unpacked, and how their lists of files are read."""

import io
import zipfile

import pytest

from tidemill.contracts.limits import GIB, MIB
from tidemill.hosting.wheels import archive_listing, limits
from tidemill.hosting.wheels.archive_listing import ListingTooLong, parse_lock, read_contents
from tidemill.hosting.wheels.limits import (
    Wheel,
    WheelContents,
    check_together,
    check_total,
    check_wheel,
    is_within_limits,
)

WHEEL = Wheel("tide", "1.0", "https://index.example/tide-1.0-py3-none-any.whl")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (WheelContents(2 * GIB, 5 * GIB, 12_000), None),  # torch with CUDA
        (WheelContents(12 * MIB, 63 * MIB, 2_000), None),
        (WheelContents(60_000, 60 * MIB, 3), None),  # packed too well, and too small to matter
        (WheelContents(4 * GIB, 9 * GIB, 3), "9.0 GiB; the limit is 8.0 GiB for one package"),
        (
            WheelContents(MIB, GIB, 3),
            "1.0 GiB, 1,024 times what it has packed; the limit is 100 times",
        ),
        (
            WheelContents(9 * MIB, MIB, 100_001),
            "100,001 files; the limit is 100,000 for one package",
        ),
    ],
)
def test_a_wheel_is_checked_by_size_count_and_ratio(found, reason):
    assert check_wheel(WHEEL, found) == (None if reason is None else f"tide 1.0 would unpack to {reason}")


def test_wheels_are_checked_together_and_one_package_counts_once():
    several = [(Wheel(name, "1", ""), WheelContents(GIB, 3 * GIB, 10)) for name in "abc"]
    assert check_together([*several, (Wheel("a", "1", ""), WheelContents(GIB, GIB, 10))], 9 * GIB) is None
    reason = check_together(several, 9 * GIB - 1)
    assert reason.startswith("the packages unpack to 9.0 GiB together; a model's environment may have 9.0 GiB")
    assert "a 1 3.0 GiB" in reason
    many = [(Wheel(str(number), "1", ""), WheelContents(1, 1, 90_000)) for number in range(5)]
    assert "450,000 files together" in check_together(many, GIB)
    assert check_total(GIB, 10, GIB) is None


def test_small_wheels_are_not_checked():
    assert is_within_limits(Wheel("a", "1", "", 60_000))
    assert not is_within_limits(Wheel("a", "1", "", 70_000))
    assert not is_within_limits(Wheel("a", "1", ""))


def test_a_lock_tells_what_is_installed():
    lock = b"""lock-version = "1.0"
[[packages]]
name = "a"
version = "1"
wheels = [{ url = "https://x.example/a-1.whl", size = 5 }, { path = "/wheels/a-1.whl" }]
[[packages]]
name = "b"
archive = { url = "file:///b-2.whl" }
"""
    assert parse_lock(lock) == [
        Wheel("a", "1", "https://x.example/a-1.whl", 5),
        Wheel("a", "1", "file:///wheels/a-1.whl"),
        Wheel("b", "", "file:///b-2.whl"),
    ]
    with pytest.raises(ValueError, match="line 1"):
        parse_lock(b"= nothing")


def archive(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as written:
        for number in range(files):
            written.writestr(f"{number:0200}", bytes(1000))
    return buffer.getvalue()


@pytest.mark.parametrize("files", [1, 3000])  # a list within the tail, and one that reaches before it
@pytest.mark.parametrize("place", ["folder", "server"])
def test_a_list_is_read_without_the_archive(tmp_path, monkeypatch, files, place):
    data = archive(files)
    asked = []

    def ranged(_url, wanted):
        start, _, stop = wanted.partition("-")
        found = data[int(start) : int(stop) + 1] if start else data[-int(stop) :]
        asked.append(len(found))
        return found, len(data)

    monkeypatch.setattr(archive_listing, "_fetch_range", ranged)
    file = tmp_path / "a b.whl"
    file.write_bytes(data)
    url = file.as_uri() if place == "folder" else "https://index.example/a.whl"
    assert read_contents(url) == WheelContents(len(data), 1000 * files, files)
    assert len(asked) == (0 if place == "folder" else 1 if files == 1 else 2)


# Named, since an archive holds the time of its making, and every process must collect the same tests.
@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", archive(3)[:-30], archive(3)[:40]],
    ids=["empty", "text", "without its end", "its beginning"],
)
def test_what_is_no_archive_is_the_installers_to_refuse(tmp_path, data):
    (tmp_path / "a.whl").write_bytes(data)
    assert read_contents((tmp_path / "a.whl").as_uri()) is None
    assert read_contents((tmp_path / "missing.whl").as_uri()) is None
    assert read_contents("ftp://x.example/a.whl") is None


def test_a_list_longer_than_any_wheels_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_listing, "LISTING_LIMIT_BYTES", 100_000)
    (tmp_path / "a.whl").write_bytes(archive(1000))
    with pytest.raises(ListingTooLong, match=f"{limits.WHEEL_LIMIT_FILES:,}"):
        read_contents((tmp_path / "a.whl").as_uri())

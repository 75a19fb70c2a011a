import unicodedata
from pathlib import PurePosixPath
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.security import bundle_paths
from tidemill.security.bundle_paths import BundleError, check_paths

CONFIG = ("cog.yaml", 100)


def refusal(*paths: str) -> str:
    with pytest.raises(BundleError) as caught:
        check_paths([CONFIG, *((path, 1) for path in paths)])
    return caught.value.reason


def test_an_ordinary_bundle_passes() -> None:
    check_paths([CONFIG, ("predict.py", 0), ("weights/a.safetensors", 10), ("weights/ünï/b c.bin", 1), (".env", 1)])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("../x", "component"),
        ("a/../b", "component"),
        ("a/..", "component"),
        ("./a", "component"),
        ("a/./b", "component"),
        ("a//b", "component"),
        ("a/", "component"),
        (".", "component"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\x85b", "control"),
        ("a\\b", "backslash"),
        ("..\\x", "backslash"),
        ("a\ud800", "Unicode"),
        ("é" * 128, "component longer"),
    ],
)
def test_hostile_paths_are_refused(path: str, reason: str) -> None:
    assert reason in refusal(path)


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["a", "a"], "twice"),
        (["a", "a/b"], "file and a directory"),
        (["a/b", "a"], "file and a directory"),
        (["a/b/c/d", "a/b"], "file and a directory"),
        (["a/b", "a/b/c/d"], "file and a directory"),
        (["a", "A"], "case"),
        (["dir/x", "Dir/y"], "case"),
        (["a", "A/b"], "case"),
        (["straße", "STRASSE"], "case"),
        (["é", "e\u0301"], "case"),
        (["cog.yaml"], "twice"),
        (["Cog.yaml"], "case"),
        (["cog.yaml/x"], "file and a directory"),
    ],
)
def test_names_that_would_meet_on_disk_are_refused(paths: list[str], reason: str) -> None:
    assert reason in refusal(*paths)


def test_the_root_config_must_be_there_as_a_file() -> None:
    for files in ([], [("a/cog.yaml", 1)], [("cog.yaml/a", 1)]):
        with pytest.raises(BundleError, match="no cog"):
            check_paths(files)


def test_limits_hold_at_the_limit_and_not_above() -> None:
    depth = bundle_paths.MAX_DEPTH_COMPONENTS
    check_paths([CONFIG, ("/".join("d" * depth), 1)])
    assert "deeper" in refusal("/".join("d" * (depth + 1)))

    check_paths([CONFIG, ("x" * bundle_paths.MAX_COMPONENT_BYTES, 1)])
    assert "component longer" in refusal("x" * (bundle_paths.MAX_COMPONENT_BYTES + 1))

    longest = "/".join(["x" * 255, "x" * 255, "x" * 255, "x" * 255, "x"])[: bundle_paths.MAX_PATH_BYTES]
    check_paths([CONFIG, (longest.rstrip("/"), 1)])
    assert "longer than 1024" in refusal("/".join(["x" * 200] * 6))


def test_size_limits_hold_at_the_limit_and_not_above() -> None:
    check_paths([("cog.yaml", 0), ("w", bundle_paths.MAX_FILE_BYTES)])
    for files, reason in (
        ([("cog.yaml", 0), ("w", bundle_paths.MAX_FILE_BYTES + 1)], "file is larger"),
        ([("cog.yaml", 1), ("w", bundle_paths.MAX_TOTAL_BYTES)], "together"),
        ([("cog.yaml", 1), ("w", -1)], "negative"),
    ):
        with pytest.raises(BundleError, match=reason):
            check_paths(files)


def test_the_number_of_files_is_limited() -> None:
    most = [CONFIG, *((f"d{n % 100}/f{n}", 1) for n in range(bundle_paths.MAX_FILES - 1))]
    check_paths(most)
    with pytest.raises(BundleError, match="more than"):
        check_paths([*most, ("one-more", 1)])


COMPONENT = st.text(st.sampled_from("aAbß.\\/\x00é \u0301"), max_size=4)
PATHS = st.lists(st.lists(COMPONENT, min_size=1, max_size=4).map("/".join), max_size=6)


@given(PATHS)
def test_what_passes_stays_inside_and_nothing_meets(paths: list[str]) -> None:
    try:
        check_paths([CONFIG, *((path, 1) for path in paths)])
    except BundleError:
        return
    for path in paths:
        pure = PurePosixPath(path)
        assert str(pure) == path
        assert not pure.is_absolute()
        assert ".." not in pure.parts
        assert not any(unicodedata.category(each) == "Cc" for each in path)
    folded = [unicodedata.normalize("NFC", path.casefold()) for path in [*paths, CONFIG[0]]]
    assert len(set(folded)) == len(folded)
    assert not any(a != b and b.startswith(a + "/") for a in folded for b in folded)


@given(PATHS, st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_the_order(paths: list[str], random: Random) -> None:
    def verdict(order: list[str]) -> bool:
        try:
            check_paths([CONFIG, *((path, 1) for path in order)])
        except BundleError:
            return False
        return True

    shuffled = list(paths)
    random.shuffle(shuffled)
    assert verdict(paths) == verdict(shuffled)


def test_an_error_shows_a_shortened_path() -> None:
    with pytest.raises(BundleError) as caught:
        check_paths([("\n" * 900, 1)])
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)

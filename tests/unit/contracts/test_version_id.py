import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.api.pushes import BundleFile
from tidemill.contracts.bundle import blob_key, bundle_digest, version_id

ONE = BundleFile(path="cog.yaml", sha256="a" * 64, size=3)
TWO = BundleFile(path="weights/größe.bin", sha256="b" * 64, size=2**40, executable=True)
FILES = st.lists(
    st.builds(
        BundleFile,
        path=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
        sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
        size=st.integers(0, 2**50),
        executable=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda file: file.path,
)


def test_the_digest_of_an_index_never_changes():
    assert bundle_digest([ONE, TWO]) == "b30dc7e40d714df5186bb6aa966a36b569725c268d0f054275e28359af09ed9a"


@given(FILES, st.randoms(use_true_random=False))
def test_the_order_of_the_files_does_not_matter(files, random):
    shuffled = list(files)
    random.shuffle(shuffled)
    assert bundle_digest(shuffled) == bundle_digest(files)


@given(FILES)
def test_the_digest_survives_the_wire(files):
    again = msgspec.json.decode(msgspec.json.encode(files), type=list[BundleFile])
    assert bundle_digest(again) == bundle_digest(files)


def test_every_member_counts():
    others = [
        BundleFile(path="cog.yml", sha256=ONE.sha256, size=3),
        BundleFile(path="cog.yaml", sha256="c" * 64, size=3),
        BundleFile(path="cog.yaml", sha256=ONE.sha256, size=4),
        BundleFile(path="cog.yaml", sha256=ONE.sha256, size=3, executable=True),
    ]
    assert len({bundle_digest([file]) for file in [ONE, *others]}) == 5


def test_the_id_of_a_version_never_changes_and_names_its_model():
    digest = bundle_digest([ONE, TWO])
    assert version_id("m" * 26, digest) == "a36e3f4170344c1a7d705ebba0aee3d571aaa5e278d1a9be06f3af75d6167d7b"
    assert len({digest, version_id("m" * 26, digest), version_id("n" * 26, digest)}) == 3


def test_blobs_lie_under_their_digest():
    assert blob_key("a" * 64) == "blobs/" + "a" * 64

"""What a change makes of a release, and which release a new prediction goes to."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tidemill.contracts.api.deployments import UpdateDeployment
from tidemill.contracts.errors import Problem
from tidemill.gateway.releases.rollout import ReleaseCandidate, changed, choose_release
from tidemill.gateway.stores.deployments import ReleaseSettings

NOW = ReleaseSettings(version_queue="v1", hardware="cpu", min_instances=1, max_instances=3)


def candidate(queue, least=1, left_s=None):
    return ReleaseCandidate(queue=queue, min_instances=least, max_instances=3, left_s=left_s or 0.0)


def chosen(*releases, warm=(), age_s=0.0):
    return choose_release(releases, set(warm).__contains__, age_s).queue


def test_what_is_left_out_stays():
    assert changed(NOW, UpdateDeployment(), UNSET) == NOW
    assert changed(NOW, UpdateDeployment(max_instances=9), UNSET) == msgspec.structs.replace(NOW, max_instances=9)


def test_zero_is_a_wish():
    assert changed(NOW, UpdateDeployment(min_instances=0, max_instances=0), UNSET).max_instances == 0


def test_a_floor_above_the_limit_is_refused():
    with pytest.raises(Problem) as refused:
        changed(NOW, UpdateDeployment(min_instances=4), UNSET)
    assert refused.value.status == 422


def test_instances_go_on_unless_version_or_hardware_change():
    assert changed(NOW, UpdateDeployment(min_instances=0), UNSET).same_instances(NOW)
    assert not changed(NOW, UpdateDeployment(), "v2").same_instances(NOW)
    assert not changed(NOW, UpdateDeployment(hardware="gpu-t4"), UNSET).same_instances(NOW)


def test_the_newest_that_is_warm_stands_in():
    releases = candidate("c"), candidate("b", left_s=100), candidate("a", left_s=50)
    assert chosen(*releases, warm="ab") == "b"
    assert chosen(*releases, warm="a") == "a"
    assert chosen(*releases, warm="abc") == "c"
    assert chosen(*releases) == "c"


def test_nobody_stands_in_after_its_time_or_for_a_release_that_keeps_no_instances():
    assert chosen(candidate("b"), candidate("a", left_s=5), warm="a", age_s=6) == "b"
    assert chosen(candidate("b", least=0), candidate("a", left_s=50), warm="a") == "b"


@given(
    warm=st.sets(st.sampled_from("abcd")),
    least=st.integers(0, 5),
    lefts=st.lists(st.floats(0, 700), max_size=3),
    age_s=st.floats(0, 10),
)
def test_a_release_that_is_not_current_is_chosen_only_when_warm(warm, least, lefts, age_s):
    releases = [
        candidate("a", least),
        *(candidate(queue, left_s=left) for queue, left in zip("bcd", lefts, strict=False)),
    ]
    queue = chosen(*releases, warm=warm, age_s=age_s)
    assert queue == "a" or (queue in warm and "a" not in warm and least > 0)

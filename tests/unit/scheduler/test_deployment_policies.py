"""Which instances a deployment's releases may and must have, while one takes over from another and after."""

from hypothesis import given
from hypothesis import strategies as st

from tidemill.contracts.limits import HAND_OVER_LIMIT_S
from tidemill.scheduler.deployment_policies import (
    FORGET_RETIRED_S,
    RETIRED_IDLE_STOP_S,
    Deployment,
    DeploymentPolicies,
    Release,
)
from tidemill.scheduler.placement import QueuePolicy

NOW = 100_000.0


def release(queue, number=1, scale=(1, 3), retired_s=None):
    return Release(queue, number, *scale, None if retired_s is None else NOW - retired_s)


def deployed(*releases, name="d", changed_at=1.0):
    known = DeploymentPolicies()
    known.update([Deployment(id=name, changed_at=changed_at, releases=releases)])
    return known


def policies(*releases, ready=()):
    return deployed(*releases).policies(frozenset(ready), NOW)


def test_the_current_release_has_what_it_asks_for():
    assert policies(release("new", scale=(2, 9))) == {"new": QueuePolicy(2, 9)}


def test_the_old_release_keeps_its_floor_until_the_new_one_is_ready():
    both = release("new", 2), release("old", 1, (2, 4), retired_s=5)
    assert policies(*both, ready=["old"])["old"] == QueuePolicy(2, 4, yields_to="new")
    assert policies(*both, ready=["old", "new"])["old"] == QueuePolicy(0, 4, RETIRED_IDLE_STOP_S)


def test_what_is_not_ready_is_not_kept():
    assert policies(release("new", 2), release("old", 1, retired_s=5))["old"].min_instances == 0


def test_the_newest_that_is_ready_stands_in():
    told = policies(release("c", 3), release("broken", 2, retired_s=5), release("a", 1, retired_s=50), ready=["a"])
    assert {queue: policy.min_instances for queue, policy in told.items()} == {"c": 1, "broken": 0, "a": 1}


def test_nobody_stands_in_for_ever():
    both = release("new", 2), release("old", 1, retired_s=HAND_OVER_LIMIT_S + 1)
    assert policies(*both, ready=["old"])["old"].min_instances == 0


def test_without_a_floor_nobody_stands_in():
    both = release("new", 2, (0, 3)), release("old", 1, (0, 3), retired_s=5)
    assert policies(*both, ready=["old"])["old"] == QueuePolicy(0, 3, RETIRED_IDLE_STOP_S)


def test_a_disabled_deployment_has_no_instances():
    known = deployed(release("new", 2, (0, 0)), release("old", 1, retired_s=5))
    assert set(known.policies({"old"}, NOW).values()) == {QueuePolicy(0, 0)}
    assert known.disabled_queues() == {"new", "old"}


def test_a_deleted_deployment_is_closed_and_forgotten_after_a_day():
    known = deployed(release("new", 1, retired_s=0))
    assert known.disabled_queues() == {"new"}
    known.forget_old(NOW + FORGET_RETIRED_S)
    assert known.policies((), NOW) == {}


def test_nothing_is_known_before_the_first_reading():
    known = DeploymentPolicies()
    assert not known.is_loaded
    known.update([])
    assert known.is_loaded


def test_a_later_reading_replaces_an_earlier_one():
    known = deployed(release("new", scale=(1, 1)))
    known.update([Deployment(id="d", changed_at=9.0, releases=(release("new", scale=(0, 7)),))])
    assert known.policies((), NOW) == {"new": QueuePolicy(0, 7)}
    assert known.changed_at == 9.0


@given(
    scales=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 20)).map(lambda pair: (min(pair), max(pair))),
        min_size=1,
        max_size=6,
    ),
    ready=st.sets(st.sampled_from(["q0", "q1", "q2", "q3", "q4", "q5"])),
    age_s=st.floats(0, 2000),
)
def test_a_floor_never_exceeds_the_limit_and_at_most_two_releases_have_one(scales, ready, age_s):
    newest = len(scales) - 1
    releases = [
        release(f"q{number}", number, scale, None if number == newest else age_s)
        for number, scale in reversed(list(enumerate(scales)))
    ]
    told = policies(*releases, ready=ready)
    assert set(told) == {each.queue for each in releases}
    assert all(policy.min_instances <= policy.max_instances for policy in told.values())
    floors = [queue for queue, policy in told.items() if policy.min_instances]
    assert len(floors) <= 2
    assert all(queue == f"q{newest}" or queue in ready for queue in floors)

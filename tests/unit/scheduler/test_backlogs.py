"""A backlog beside free places: when another instance is worth its boot, and when it is not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.contracts.events import Capacity, Heartbeat, InstanceState
from tidemill.scheduler.backlogs import (
    CLAIM_DELAY_LIMIT_S,
    DEFAULT_BOOT_S,
    Backlog,
    confirmed_backlogs,
    desired_instances,
    saturated_since,
)
from tidemill.scheduler.fleet import Fleet, Instance
from tidemill.scheduler.placement import PlacementRules, PlannedBoot, QueuePolicy, WaitingCounts, plan

NOW = 1000.0


def rules(most=4):
    return PlacementRules(
        idle_stop_s=300.0, scale_factor=1.0, min_resident_s=2.0, default=QueuePolicy(max_instances=most)
    )


def busy(name="i1", queue="q", **changes):
    told = {"state": "ready", "age_s": 60.0, "running": 1, "boot_s": 0.5, **changes}
    return InstanceState(id=name, queue=queue, **told)


def fleet(*beats):
    told = Fleet(silent_after_s=3.0)
    for beat in beats:
        told.apply_heartbeat(beat, NOW)
    return told


def beat(worker="w1", *instances, places=4, gpu_free=()):
    return Heartbeat(
        worker=worker,
        host="h",
        capacity=Capacity(instances=places, memory_bytes=1),
        instances=list(instances),
        gpu_free_bytes=list(gpu_free),
    )


def planned(told, kept, most=4):
    """`kept` is what is kept waiting in q. What the ratio of late predictions makes of it is tested elsewhere."""
    return plan(told.view(NOW), WaitingCounts(rows={"q": kept.waiting}, backlogs={"q": kept}), rules(most))


def test_a_slow_prediction_is_not_kept_waiting_beside_a_free_place():
    told = fleet(beat("w1", busy(run_s=20.0, busy_s=1.0)), beat("w2"))
    assert planned(told, Backlog(1, 0, 0.6)) == [PlannedBoot("q", "w2")]


def test_a_model_of_which_nothing_is_known_is_judged_by_what_runs_now():
    assert planned(fleet(beat("w1", busy(busy_s=1.0))), Backlog(1, 0, 1.0)) == []
    assert planned(fleet(beat("w1", busy(busy_s=2.1))), Backlog(1, 1, 2.0)) == [PlannedBoot("q", "w1")]


def test_whoever_has_waited_for_longer_than_a_boot_gets_one_whatever_runs_took_before():
    told = fleet(beat("w1", busy(run_s=0.01, busy_s=0.005, boot_s=5.0)))
    assert planned(told, Backlog(1, 1, 4.9)) == []
    assert planned(told, Backlog(1, 1, 5.0)) == [PlannedBoot("q", "w1")]


def test_a_burst_of_short_predictions_boots_nothing():
    told = fleet(beat("w1", busy(run_s=0.004, busy_s=0.004)))
    assert planned(told, Backlog(500, 0, 1.9)) == []


def test_a_wait_that_is_shorter_than_a_boot_is_waited_out():
    told = fleet(beat("w1", busy(run_s=8.0, busy_s=2.0, boot_s=30.0)))
    assert planned(told, Backlog(2, 1, 3.0)) == []
    assert planned(told, Backlog(9, 9, 3.0)) == [PlannedBoot("q", "w1")]


def test_fifty_slow_predictions_of_an_async_model_spread_over_the_free_places():
    told = fleet(beat("w1", busy(slots=32, running=32, run_s=25.0), places=8))
    assert planned(told, Backlog(18, 0, 1.0)) == [PlannedBoot("q", "w1")]
    ten = fleet(beat("w1", busy(slots=10, running=10, run_s=25.0), places=8))
    assert planned(ten, Backlog(40, 0, 1.0), most=8) == [PlannedBoot("q", "w1")]
    two = (busy("i1", slots=10, running=10, run_s=25.0), busy("i2", slots=10, running=10, run_s=25.0))
    assert planned(fleet(beat("w1", *two, places=8)), Backlog(30, 0, 1.0), most=8) == [PlannedBoot("q", "w1")] * 2


def test_no_more_instances_are_booted_than_have_something_to_do():
    told = fleet(beat("w1", *(busy(f"i{n}", run_s=60.0) for n in range(3)), places=20))
    assert planned(told, Backlog(1, 1, 30.0), most=20) == [PlannedBoot("q", "w1")]


def test_nobody_has_to_go_for_it():
    idle = InstanceState(id="old", queue="p", state="ready", idle_s=90.0, age_s=90.0)
    told = fleet(beat("w1", busy(run_s=20.0), idle, places=2))
    assert planned(told, Backlog(1, 1, 60.0)) == []


def test_a_cold_queue_gets_the_free_place_first():
    told = fleet(beat("w1", busy(run_s=20.0), places=2))
    waiting = WaitingCounts(rows={"q": 1, "cold": 1}, backlogs={"q": Backlog(1, 1, 60.0)})
    assert plan(told.view(NOW), waiting, rules()) == [PlannedBoot("cold", "w1")]


def test_a_place_without_room_on_its_gpu_is_none():
    mine = busy(run_s=20.0, gpus=1, gpu_bytes=20)
    assert planned(fleet(beat("w1", mine, gpu_free=[19])), Backlog(1, 1, 9.0)) == []
    roomy = beat("w2", busy("i2", "other"), gpu_free=[5, 20])
    assert planned(fleet(beat("w1", mine, gpu_free=[19]), roomy), Backlog(1, 1, 9.0)) == [PlannedBoot("q", "w2")]
    three = (busy(f"i{n}", run_s=20.0, gpus=1, gpu_bytes=20) for n in range(3))
    told = fleet(beat("w1", *three, places=9, gpu_free=[10, 45]))
    assert planned(told, Backlog(9, 9, 9.0), most=9) == [PlannedBoot("q", "w1")] * 2


def test_a_queue_is_full_since_none_of_its_instances_has_a_free_slot():
    told = fleet(beat("w1", busy("a", "full"), busy("b", "half"), busy("c", "half", running=0)))
    first = saturated_since({}, told.view(NOW), NOW)
    assert first == {"full": NOW}
    assert saturated_since(first, told.view(NOW), NOW + 1) == {"full": NOW}
    told.apply_heartbeat(beat("w1", busy("a", "full", running=0)), NOW + 1)
    assert saturated_since(first, told.view(NOW + 1), NOW + 1) == {}


def test_what_was_seen_to_wait_before_the_instances_were_taken_may_be_what_they_run():
    seen = {"q": Backlog(1, 1, 30.0), "idle": Backlog(1, 1, 30.0)}
    assert confirmed_backlogs(seen, NOW + 0.4, {"q": NOW}) == {}
    found = confirmed_backlogs(seen, NOW + CLAIM_DELAY_LIMIT_S, {"q": NOW})
    assert found == {"q": Backlog(1, 1, 0.5)}  # before it waited for the boot


lengths = st.sampled_from([0.0, 0.004, 0.3, 1.0, 2.5, 25.0, 600.0])
slots = st.sampled_from([1, 2, 10, 32])


@st.composite
def crowded(draw):
    """An alive queue with every ready instance taken."""
    each = st.builds(
        Instance,
        id=st.just("i"),
        queue=st.just("q"),
        worker=st.just("w"),
        state=st.just("ready"),
        slots=slots,
        running=st.integers(1, 40),
        boot_s=lengths,
        run_s=lengths,
        busy_s=lengths,
    )
    return draw(st.lists(each, min_size=1, max_size=5))


counts = st.integers(0, 60)


@given(crowded(), counts, counts, lengths, counts, counts, lengths)
def test_more_that_waits_for_longer_is_never_worth_less(alive, count, late, longest_s, more, later, longer_s):
    kept = Backlog(max(count, late), late, longest_s)
    fuller = Backlog(kept.waiting + more, kept.late + min(more, later), kept.longest_s + longer_s)
    assert len(alive) <= desired_instances(alive, kept) <= desired_instances(alive, fuller)


class Simulated:
    """Workers that obey at once, and one queue whose predictions take longer than anybody waits."""

    def __init__(self, places, width, told):
        self.places, self.width, self.told = places, width, told
        self.instances = {name: [] for name in places}
        self.seconds = 0

    def count(self):
        return sum(map(len, self.instances.values()))

    def boot(self, worker):
        assert len(self.instances[worker]) < self.places[worker]
        self.instances[worker].append(self.seconds)

    def view(self):
        beats = []
        for name, born in self.instances.items():
            states = [
                busy(f"{name}{n}", slots=self.width, running=self.width, busy_s=float(self.seconds - at), **self.told)
                for n, at in enumerate(born)
            ]
            beats.append(beat(name, *states, places=self.places[name]))
        return fleet(*beats).view(NOW)

    def round(self, waiting, most):
        left = max(0, waiting - self.count() * self.width)
        kept = Backlog(left, left if self.seconds >= 2 else 0, float(self.seconds))
        actions = plan(self.view(), WaitingCounts(rows={"q": left}, backlogs={"q": kept} if left else {}), rules(most))
        assert all(isinstance(each, PlannedBoot) for each in actions)
        for each in actions:
            self.boot(each.worker)
        assert self.count() <= max(most, 1)
        self.seconds += 1
        return len(actions)


fleets = st.dictionaries(st.sampled_from(["w1", "w2", "w3"]), st.integers(1, 4), min_size=1)


@settings(deadline=None, max_examples=60)
@given(fleets, slots, st.sampled_from([0.0, 0.3, 1.0, 2.5, 12.0]), lengths, st.integers(1, 6), st.integers(2, 80))
def test_a_late_prediction_beside_free_places_gets_a_boot_and_boots_end(places, width, boot_s, run_s, most, waiting):
    """Within as many rounds, of a second each, as a boot takes, and with no place, instance or slot too many."""
    told = Simulated(places, width, {"boot_s": boot_s, "run_s": run_s})
    told.boot(next(iter(places)))
    rounds = int(max(2, boot_s or DEFAULT_BOOT_S)) + 3
    for _ in range(rounds):
        booted = told.round(waiting, most)
        if booted or waiting <= width or most == 1 or sum(places.values()) == 1:
            break
    else:
        raise AssertionError(f"nothing was booted in {rounds} rounds")
    for _ in range(rounds + most * 2):  # the last boots may come only when the oldest has waited for a whole boot
        told.round(waiting, most)
    needed = -(-waiting // width)
    assert told.count() == max(1, min(needed, most, sum(places.values())))
    assert told.round(waiting, most) == 0

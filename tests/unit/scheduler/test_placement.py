from tidemill.contracts.events import Capacity, Heartbeat, InstanceState, QueueState
from tidemill.scheduler.fleet import Fleet
from tidemill.scheduler.placement import (
    PlacementRules,
    PlannedBoot,
    PlannedStop,
    QueuePolicy,
    WaitingCounts,
    cold_since,
    plan,
)

NOW = 1000.0
NOTHING = WaitingCounts()


def rules(**changes):
    given = {
        "idle_stop_s": 300.0,
        "scale_factor": 1.0,
        "min_resident_s": 2.0,
        "default": QueuePolicy(max_instances=4),
        **changes,
    }
    return PlacementRules(**given)


def ready(name, queue="q", **changes):
    return InstanceState(**{"id": name, "queue": queue, "state": "ready", "age_s": 60.0, **changes})


def fleet(*beats):
    told = Fleet(silent_after_s=3.0)
    for beat in beats:
        told.apply_heartbeat(beat, NOW)
    return told


def beat(worker="w1", *instances, places=4, waiting=(), draining=False):
    return Heartbeat(
        worker=worker,
        host="h",
        capacity=Capacity(instances=places, memory_bytes=1),
        instances=list(instances),
        queues=[QueueState(queue=queue, waiting=count) for queue, count in waiting],
        draining=draining,
    )


def planned(told, waiting=NOTHING, given=None, backing_off=frozenset(), now=NOW):
    return plan(told.view(now), waiting, given or rules(), backing_off)


def test_a_hint_for_a_cold_queue_boots_one_instance():
    told = fleet(beat())
    assert told.record_demand("q", NOW)
    assert planned(told) == [PlannedBoot("q", "w1")]


def test_one_need_boots_once_while_the_command_is_on_its_way():
    told = fleet(beat())
    told.record_demand("q", NOW)
    told.add_pending_boot("i1", "q", "w1")
    assert planned(told) == []
    assert not told.record_demand("q", NOW)


def test_one_need_boots_once_while_the_instance_boots():
    told = fleet(beat("w1", InstanceState(id="i1", queue="q", state="booting")))
    told.record_demand("q", NOW)
    assert planned(told, WaitingCounts(rows={"q": 50}, late={"q": 50})) == []


def test_a_refused_boot_is_planned_again_after_the_next_heartbeat():
    told = fleet(beat())
    told.record_demand("q", NOW)
    told.add_pending_boot("i1", "q", "w1")
    told.command_refused("i1", NOW + 0.1)
    assert planned(told, now=NOW + 0.1) == []
    told.apply_heartbeat(beat(), NOW + 1)
    assert planned(told, now=NOW + 1) == [PlannedBoot("q", "w1")]


def test_a_refusal_leaves_the_other_workers():
    told = fleet(beat("w1"), beat("w2"))
    told.record_demand("q", NOW)
    told.add_pending_boot("i1", "q", "w2")
    told.command_refused("i1", NOW + 0.1)
    assert planned(told, now=NOW + 0.1) == [PlannedBoot("q", "w1")]


def test_the_emptiest_worker_is_chosen():
    told = fleet(beat("w1", ready("a", "other"), ready("b", "other")), beat("w2", ready("c", "other")))
    told.record_demand("q", NOW)
    assert planned(told) == [PlannedBoot("q", "w2")]


def test_a_silent_worker_gets_no_boot():
    told = fleet(beat())
    told.record_demand("q", NOW + 2.9)
    assert planned(told, now=NOW + 2.9) == [PlannedBoot("q", "w1")]
    assert planned(told, now=NOW + 3.0) == []


def test_a_draining_worker_gets_no_boot_and_its_instances_do_not_count():
    told = fleet(beat("w1", ready("i1"), draining=True), beat("w2"))
    assert planned(told, WaitingCounts(rows={"q": 1})) == [PlannedBoot("q", "w2")]


def test_an_instance_of_a_silent_worker_is_replaced():
    told = Fleet(silent_after_s=3.0)
    told.apply_heartbeat(beat("w1", ready("i1")), NOW - 4)
    told.apply_heartbeat(beat("w2"), NOW)
    assert planned(told, WaitingCounts(rows={"q": 1})) == [PlannedBoot("q", "w2")]


def test_a_queue_that_flows_is_not_scaled_however_much_waits_for_a_moment():
    told = fleet(beat("w1", ready("i1", running=1), waiting=[("q", 500)]))
    assert planned(told) == []


def test_a_queue_whose_predictions_wait_for_long_is_scaled_by_doubling():
    late = WaitingCounts(rows={"q": 20}, late={"q": 20})
    one = fleet(beat("w1", ready("i1", running=1)))
    assert planned(one, late) == [PlannedBoot("q", "w1")]
    two = fleet(beat("w1", ready("i1", running=1), ready("i2", running=1)))
    assert planned(two, late) == [PlannedBoot("q", "w1")] * 2


def test_slots_count_for_scaling():
    told = fleet(beat("w1", ready("i1", running=8, slots=8)))
    assert planned(told, WaitingCounts(rows={"q": 8}, late={"q": 8})) == []
    assert planned(told, WaitingCounts(rows={"q": 9}, late={"q": 9})) == [PlannedBoot("q", "w1")]


def test_scaling_ends_at_the_limit_of_the_queue():
    told = fleet(beat("w1", ready("i1", running=1), ready("i2", running=1), places=8))
    given = rules(default=QueuePolicy(max_instances=3))
    assert planned(told, WaitingCounts(rows={"q": 99}, late={"q": 99}), given) == [PlannedBoot("q", "w1")]


def test_an_idle_instance_is_stopped_after_its_time():
    told = fleet(beat("w1", ready("i1", idle_s=299.0), ready("i2", "p", idle_s=300.0)))
    assert planned(told) == [PlannedStop("i2", "w1", "idle")]


def test_an_idle_instance_stays_while_something_waits_for_it():
    told = fleet(beat("w1", ready("i1", idle_s=900.0)))
    told.record_demand("q", NOW)
    assert planned(told) == []
    assert planned(fleet(beat("w1", ready("i1", idle_s=900.0))), WaitingCounts(rows={"q": 1})) == []


def test_a_running_instance_is_never_stopped():
    told = fleet(beat("w1", ready("i1", running=1, idle_s=900.0), places=1))
    told.record_demand("other", NOW)
    assert planned(told) == []


def test_floors_are_booted_without_need_and_never_stopped():
    given = rules(policies={"q": QueuePolicy(min_instances=2)})
    assert planned(fleet(beat()), given=given) == [PlannedBoot("q", "w1")] * 2
    told = fleet(beat("w1", ready("i1", idle_s=900.0), ready("i2", idle_s=900.0), ready("i3", idle_s=901.0)))
    assert planned(told, given=given) == [PlannedStop("i3", "w1", "idle")]


def test_without_room_the_longest_idle_instance_of_another_queue_goes_first():
    told = fleet(beat("w1", ready("a", "old", idle_s=50.0), ready("b", "young", idle_s=5.0), places=2))
    told.record_demand("q", NOW)
    assert planned(told) == [PlannedStop("a", "w1", "room")]


def test_one_need_empties_one_place():
    told = fleet(beat("w1", ready("a", "old", idle_s=50.0), ready("b", "young", idle_s=5.0), places=2))
    told.record_demand("q", NOW)
    told.add_pending_stop("a", "w1")
    assert planned(told) == []
    draining = InstanceState(id="a", queue="old", state="draining")
    told.apply_heartbeat(beat("w1", draining, ready("b", "young", idle_s=5.0), places=2), NOW)
    assert planned(told) == []
    told.apply_heartbeat(beat("w1", ready("b", "young", idle_s=5.0), places=2), NOW)
    assert planned(told) == [PlannedBoot("q", "w1")]


def test_two_needs_empty_two_places():
    told = fleet(beat("w1", ready("a", "old", idle_s=50.0), ready("b", "young", idle_s=5.0), places=2))
    told.record_demand("q", NOW)
    told.record_demand("r", NOW)
    assert planned(told) == [PlannedStop("a", "w1", "room"), PlannedStop("b", "w1", "room")]


def test_an_instance_is_given_time_to_take_what_it_was_booted_for():
    told = fleet(beat("w1", ready("a", "old", idle_s=1.0, age_s=1.0), places=1))
    told.record_demand("q", NOW)
    assert planned(told) == []


def test_floors_come_before_cold_queues_and_these_before_backlogs():
    given = rules(policies={"floor": QueuePolicy(min_instances=1)})
    told = fleet(beat("w1", ready("i1", "busy", running=1), places=3))
    waiting = WaitingCounts(rows={"busy": 9, "cold": 1}, late={"busy": 9})
    assert planned(told, waiting, given) == [PlannedBoot("floor", "w1"), PlannedBoot("cold", "w1")]


def test_the_queue_that_has_been_cold_for_longest_comes_first():
    told = fleet(beat(places=1))
    waiting = WaitingCounts(rows={"a": 1, "b": 1}, cold_since={"a": 20.0, "b": 10.0})
    assert planned(told, waiting) == [PlannedBoot("b", "w1")]


def test_a_queue_that_failed_to_boot_is_left_alone_for_its_time():
    told = fleet(beat())
    told.record_demand("q", NOW)
    assert planned(told, backing_off=frozenset({"q"})) == []


def test_failed_instances_take_no_place():
    told = fleet(beat("w1", InstanceState(id="i1", queue="q", state="failed", error="x"), places=1))
    assert planned(told, WaitingCounts(rows={"q": 1})) == [PlannedBoot("q", "w1")]


def test_idle_instances_beyond_the_limit_go_at_once():
    told = fleet(beat("w1", *(ready(f"i{n}", idle_s=float(n)) for n in range(3))))
    assert planned(told, given=rules(default=QueuePolicy(max_instances=2))) == [PlannedStop("i2", "w1", "excess")]


def test_cold_since_is_kept_until_something_serves_the_queue():
    told = fleet(beat())
    told.record_demand("q", NOW)
    first = cold_since({}, told.view(NOW), WaitingCounts(), NOW)
    assert first == {"q": NOW}
    assert cold_since(first, told.view(NOW), WaitingCounts(), NOW + 9) == {"q": NOW}
    told.add_pending_boot("i1", "q", "w1")
    assert cold_since(first, told.view(NOW), WaitingCounts(), NOW + 9) == {}


def test_nothing_is_planned_without_workers():
    told = Fleet(silent_after_s=3.0)
    told.record_demand("q", NOW)
    assert planned(told) == []


ROLLOUT = {"new": QueuePolicy(1, 3), "old": QueuePolicy(1, 3, yields_to="new")}


def test_a_floor_is_booted_before_the_old_one_goes():
    told = fleet(beat("w1", ready("i1", "old", idle_s=900.0)))
    assert planned(told, given=rules(policies=ROLLOUT)) == [PlannedBoot("new", "w1")]


def test_a_full_fleet_gives_the_old_releases_place_to_the_new_one():
    told = fleet(beat("w1", ready("i1", "old", idle_s=1.0), places=1))
    assert planned(told, given=rules(policies=ROLLOUT)) == [PlannedStop("i1", "w1", "room")]


def test_others_do_not_get_the_place_of_a_floor_that_yields():
    told = fleet(beat("w1", ready("i1", "old"), ready("i2", "new"), places=2))
    told.record_demand("q", NOW)
    assert planned(told, given=rules(policies=ROLLOUT)) == []


def test_what_runs_is_not_stopped_for_a_new_release():
    told = fleet(beat("w1", ready("i1", "old", running=1), places=1))
    assert planned(told, given=rules(policies=ROLLOUT)) == []


def test_an_old_release_is_let_go_early():
    told = fleet(beat("w1", ready("i1", "old", idle_s=20.0), ready("i2", "other", idle_s=20.0)))
    policies = {"old": QueuePolicy(0, 3, idle_stop_s=15.0)}
    assert planned(told, given=rules(policies=policies)) == [PlannedStop("i1", "w1", "idle")]


def test_a_boot_that_nobody_waits_for_any_more_gives_its_place_to_a_cold_queue():
    hangs = InstanceState(id="hangs", queue="old", state="booting", idle_s=60.0, age_s=60.0)
    told = fleet(beat("w1", hangs, places=1))
    told.record_demand("q", NOW)
    assert planned(told) == [PlannedStop("hangs", "w1", "room")]
    assert planned(told, WaitingCounts(rows={"old": 1})) == []
    assert planned(told, given=rules(policies={"old": QueuePolicy(min_instances=1)})) == []

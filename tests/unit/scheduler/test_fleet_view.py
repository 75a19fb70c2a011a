from tidemill.contracts.events import Capacity, Heartbeat, InstanceState, QueueState
from tidemill.scheduler.fleet import DEMAND_LIFE_S, FORGET_AFTER_S, PENDING_LIMIT_S, BootFailure, Fleet

NOW = 50.0


def beat(worker, *states, waiting=()):
    return Heartbeat(
        worker=worker,
        host="h",
        capacity=Capacity(instances=4, memory_bytes=1),
        instances=[InstanceState(id=name, queue=queue, state=state) for name, queue, state in states],
        queues=[QueueState(queue=queue, waiting=count) for queue, count in waiting],
    )


def states(fleet, now=NOW):
    return {each.id: each.state for each in fleet.view(now).instances}


def test_a_heartbeat_replaces_what_its_worker_said_before():
    fleet = Fleet(silent_after_s=3)
    fleet.apply_heartbeat(beat("w", ("a", "q", "ready"), ("b", "q", "booting")), NOW)
    fleet.apply_heartbeat(beat("w", ("b", "q", "ready")), NOW)
    assert states(fleet) == {"b": "ready"}


def test_an_asked_boot_is_seen_until_a_heartbeat_shows_it():
    fleet = Fleet(silent_after_s=3)
    fleet.apply_heartbeat(beat("w"), NOW)
    fleet.add_pending_boot("i", "q", "w")
    fleet.apply_heartbeat(beat("w"), NOW)  # sent before the command came
    assert states(fleet) == {"i": "booting"}
    fleet.apply_heartbeat(beat("w", ("i", "q", "booting")), NOW)
    fleet.apply_heartbeat(beat("w"), NOW)
    assert states(fleet) == {}


def test_an_accepted_boot_that_never_shows_is_forgotten():
    fleet = Fleet(silent_after_s=30)
    fleet.apply_heartbeat(beat("w"), NOW)
    fleet.add_pending_boot("i", "q", "w")
    fleet.expire(NOW + 100)
    assert states(fleet, NOW) == {}  # the worker itself is forgotten by then
    fleet.apply_heartbeat(beat("w"), NOW + 100)
    fleet.command_accepted("i", NOW + 100)
    fleet.expire(NOW + 100 + PENDING_LIMIT_S - 0.1)
    assert states(fleet, NOW + 101) == {"i": "booting"}
    fleet.expire(NOW + 100 + PENDING_LIMIT_S)
    assert states(fleet, NOW + 101) == {}


def test_an_asked_stop_shows_as_draining_until_it_is_obeyed_or_refused():
    fleet = Fleet(silent_after_s=3)
    ready = beat("w", ("i", "q", "ready"))
    fleet.apply_heartbeat(ready, NOW)
    fleet.add_pending_stop("i", "w")
    assert states(fleet) == {"i": "draining"}
    fleet.apply_heartbeat(ready, NOW)
    assert states(fleet) == {"i": "draining"}
    fleet.command_refused("i", NOW)
    assert states(fleet) == {"i": "ready"}
    fleet.add_pending_stop("i", "w")
    fleet.apply_heartbeat(beat("w"), NOW)
    fleet.apply_heartbeat(ready, NOW)  # an instance that is up again although it had gone
    assert states(fleet) == {"i": "ready"}


def test_only_ready_instances_of_live_workers_make_a_queue_ready():
    fleet = Fleet(silent_after_s=3)
    fleet.apply_heartbeat(beat("w1", ("a", "q1", "ready"), ("b", "q2", "booting"), ("c", "q3", "failed")), NOW)
    fleet.apply_heartbeat(beat("w2", ("d", "q4", "ready")), NOW - 3)
    assert fleet.view(NOW).ready_queues() == ["q1"]


def test_workers_count_the_same_stream():
    fleet = Fleet(silent_after_s=3)
    fleet.apply_heartbeat(beat("w1", waiting=[("q", 7)]), NOW)
    fleet.apply_heartbeat(beat("w2", waiting=[("q", 9), ("p", 1)]), NOW)
    assert fleet.view(NOW).waiting == {"q": 9, "p": 1}


def test_a_failure_is_news_once():
    fleet = Fleet(silent_after_s=3)
    failed = beat("w", ("i", "q", "failed"))
    assert fleet.apply_heartbeat(failed, NOW) == [BootFailure("i", "q", "no reason given")]
    assert fleet.apply_heartbeat(failed, NOW + 1) == []
    fleet.expire(NOW + 1 + FORGET_AFTER_S)
    assert len(fleet.apply_heartbeat(failed, NOW)) == 1


def test_a_hint_is_news_when_nothing_of_the_queue_is_up_or_coming():
    fleet = Fleet(silent_after_s=3)
    fleet.apply_heartbeat(beat("w", ("i", "warm", "ready")), NOW)
    assert not fleet.record_demand("warm", NOW)
    assert fleet.record_demand("cold", NOW)
    assert not fleet.record_demand("cold", NOW)


def test_a_hint_is_served_by_a_ready_instance_and_forgotten_in_time():
    fleet = Fleet(silent_after_s=3)
    fleet.apply_heartbeat(beat("w"), NOW)
    fleet.record_demand("q", NOW)
    fleet.record_demand("p", NOW)
    fleet.apply_heartbeat(beat("w", ("i", "q", "ready")), NOW)
    assert fleet.view(NOW).demanded == {"p"}
    fleet.expire(NOW + DEMAND_LIFE_S)
    assert fleet.view(NOW).demanded == set()


def test_a_ready_queue_is_quiet_since_nothing_waits_for_it():
    fleet = Fleet(silent_after_s=30)

    def note(now, waiting):
        fleet.apply_heartbeat(beat("w", ("i", "q", "ready"), waiting=[("q", waiting)]), now)
        fleet.update_quiet_queues(fleet.view(now), now)

    assert fleet.quiet_s("q", NOW) == 0
    note(NOW, 0)
    note(NOW + 1, 0)
    assert fleet.quiet_s("q", NOW + 2) == 2
    note(NOW + 2, 1)
    assert fleet.quiet_s("q", NOW + 3) == 0


def test_a_queue_boots_until_it_has_a_ready_instance():
    fleet = Fleet(silent_after_s=3)
    fleet.apply_heartbeat(beat("w", ("i1", "cold", "booting"), ("i2", "warm", "ready"), ("i3", "warm", "booting")), NOW)
    fleet.add_pending_boot("i4", "asked", "w")
    view = fleet.view(NOW)
    assert (view.ready_queues(), view.booting_queues()) == (["warm"], ["asked", "cold"])

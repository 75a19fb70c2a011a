"""Random fleets that obey, refuse, lose and delay commands: what a plan must never do, whatever happens."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tidemill.contracts.events import Capacity, Heartbeat, InstanceState, QueueState
from tidemill.scheduler.backlogs import Backlog
from tidemill.scheduler.fleet import Fleet
from tidemill.scheduler.placement import (
    PlacementRules,
    PlannedBoot,
    PlannedStop,
    QueuePolicy,
    WaitingCounts,
    needs,
    plan,
)

QUEUES = ("a", "b", "c", "d")
MOST = 3
RULES = PlacementRules(
    idle_stop_s=10,
    scale_factor=1,
    min_resident_s=1,
    default=QueuePolicy(max_instances=MOST),
    policies={"d": QueuePolicy(min_instances=1, max_instances=2)},
)
queues = st.sampled_from(QUEUES)


class Instance:
    def __init__(self, queue, born):
        self.queue, self.state, self.running, self.born, self.idle_since = queue, "booting", 0, born, born


class Worker:
    """What a worker really has; it refuses what does not fit."""

    def __init__(self, places):
        self.places, self.instances = places, {}

    def boot(self, name, queue, now):
        if len(self.instances) >= self.places:
            return False
        self.instances[name] = Instance(queue, now)
        return True

    def beat(self, name, now, waiting):
        states = [
            InstanceState(
                id=each,
                queue=one.queue,
                state=one.state,
                running=one.running,
                idle_s=0 if one.running else now - one.idle_since,
                age_s=now - one.born,
            )
            for each, one in self.instances.items()
        ]
        mine = {one.queue for one in self.instances.values()}
        return Heartbeat(
            worker=name,
            host="h",
            capacity=Capacity(instances=self.places, memory_bytes=1),
            instances=states,
            queues=[QueueState(queue=queue, waiting=waiting.get(queue, 0)) for queue in mine],
        )


class Machines(RuleBasedStateMachine):
    @initialize(places=st.lists(st.integers(0, 4), min_size=1, max_size=3))
    def begin(self, places):
        self.now = 100.0
        self.workers = {f"w{n}": Worker(count) for n, count in enumerate(places)}
        self.fleet = Fleet(silent_after_s=3)
        self.rows, self.late, self.kept = Counter(), Counter(), {}
        self.sent, self.booted = [], 0
        for name in self.workers:
            self.hear(name)

    def hear(self, name):
        self.fleet.apply_heartbeat(self.workers[name].beat(name, self.now, self.rows), self.now)

    @rule(seconds=st.floats(0.1, 4))
    def time_passes(self, seconds):
        self.now += seconds
        self.fleet.expire(self.now)

    @rule(data=st.data())
    def a_worker_beats(self, data):
        self.hear(data.draw(st.sampled_from(sorted(self.workers))))

    @rule(queue=queues)
    def a_gateway_hints(self, queue):
        self.fleet.record_demand(queue, self.now)

    @rule(queue=queues, rows=st.integers(0, 9), late=st.integers(0, 9))
    def rows_wait(self, queue, rows, late):
        self.rows[queue], self.late[queue] = rows, min(rows, late)
        self.kept.pop(queue, None)

    @rule(queue=queues, kept=st.integers(1, 9), late=st.integers(0, 9), seconds=st.floats(0.5, 60))
    def rows_are_kept_waiting(self, queue, kept, late, seconds):
        self.rows_wait(queue, kept, 0)
        self.kept[queue] = Backlog(kept, min(kept, late), seconds)

    @rule(data=st.data(), running=st.integers(0, 1))
    def an_instance_changes(self, data, running):
        everyone = [one for worker in self.workers.values() for one in worker.instances.values()]
        if everyone:
            one = data.draw(st.sampled_from(everyone))
            one.state, one.running, one.idle_since = "ready", running, self.now

    @rule()
    def a_plan_is_sent(self):
        view, waiting = self.fleet.view(self.now), WaitingCounts(self.rows, self.late, {}, self.kept)
        actions = plan(view, waiting, RULES)
        self.judge(view, waiting, actions)
        for action in actions:
            if isinstance(action, PlannedBoot):
                self.booted += 1
                name = f"i{self.booted}"
                self.fleet.add_pending_boot(name, action.queue, action.worker)
                self.sent.append((name, action))
            else:
                self.fleet.add_pending_stop(action.instance, action.worker)
                self.sent.append((action.instance, action))
        boots = [each for each in plan(self.fleet.view(self.now), waiting, RULES) if isinstance(each, PlannedBoot)]
        # What was planned is seen as under way, so that a second look wants no second instance for the same need.
        repeated = Counter(each.queue for each in boots)
        assert all(count + self.alive(queue) <= MOST for queue, count in repeated.items())
        assert all(self.alive(queue) > 0 or queue not in repeated for queue in repeated)

    def alive(self, queue):
        return sum(each.alive for each in self.fleet.view(self.now).instances if each.queue == queue)

    def judge(self, view, waiting, actions):
        taken = Counter(each.worker for each in view.instances if each.occupies)
        boots = [each for each in actions if isinstance(each, PlannedBoot)]
        stops = [each for each in actions if isinstance(each, PlannedStop)]
        for name, count in Counter(boot.worker for boot in boots).items():
            assert taken[name] + count <= view.workers[name].capacity
        known = {each.id: each for each in view.instances}
        assert all(known[stop.instance].running == 0 for stop in stops)
        assert all(known[stop.instance].queue not in needs(view, waiting) for stop in stops)
        assert len({stop.instance for stop in stops}) == len(stops)
        assert not {boot.queue for boot in boots} & {known[stop.instance].queue for stop in stops}
        for queue, count in Counter(boot.queue for boot in boots).items():
            serving = [each for each in view.instances if each.alive and each.queue == queue]
            assert len(serving) + count <= RULES.policy(queue).max_instances
            floor = RULES.policy(queue).min_instances
            if waiting.late.get(queue, 0) <= 1 and queue not in self.kept:  # one need, one instance, beside the floor
                assert len(serving) + count <= max(1, floor)
        left = Counter(known[stop.instance].queue for stop in stops)
        for queue, count in left.items():
            serving = [each for each in view.instances if each.alive and each.queue == queue]
            assert len(serving) - count >= RULES.policy(queue).min_instances

    @rule(data=st.data(), fate=st.sampled_from(["obeyed", "refused", "answer lost"]))
    def a_command_arrives(self, data, fate):
        if not self.sent:
            return
        name, action = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        worker = self.workers[action.worker]
        accepted = fate != "refused"
        if accepted and isinstance(action, PlannedBoot):
            accepted = worker.boot(name, action.queue, self.now)
        elif accepted:
            worker.instances.pop(name, None)
        if accepted and fate == "obeyed":
            self.fleet.command_accepted(name, self.now)
        else:
            self.fleet.command_refused(name, self.now)

    @invariant()
    def no_worker_holds_more_than_it_offers(self):
        assert all(len(each.instances) <= each.places for each in getattr(self, "workers", {}).values())


TestMachines = Machines.TestCase
TestMachines.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

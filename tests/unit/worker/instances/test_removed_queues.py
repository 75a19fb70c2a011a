"""Instances of a deleted version end; others do not notice."""

from types import SimpleNamespace

from tidemill.contracts.events import QueueRemoved
from tidemill.worker.gpus.devices import NoGpus
from tidemill.worker.instances.boots import Boots


class Instance(SimpleNamespace):
    def drain(self):
        self.state = "draining"


def instance(queue, state="ready"):
    return Instance(queue=queue, state=state)


async def test_ready_instances_of_the_queue_drain(tmp_path):
    lanes = {
        "gone": SimpleNamespace(instances={"a": instance("gone"), "b": instance("gone", "failed")}),
        "kept": SimpleNamespace(instances={"c": instance("kept")}),
    }
    rest = {
        "home": tmp_path,
        "capacity": 4,
        "timeout_s": 1,
        "privileges": None,
        "ways_out": None,
        "watcher": None,
        "machine": NoGpus(),
    }
    boots = Boots(SimpleNamespace(lanes=lanes), *[None] * 5, **rest)
    for _ in range(2):
        await boots.removed(QueueRemoved(queue="gone"))
        states = {name: one.state for lane in lanes.values() for name, one in lane.instances.items()}
        assert states == {"a": "draining", "b": "failed", "c": "ready"}
    await boots.removed(QueueRemoved(queue="never heard of"))

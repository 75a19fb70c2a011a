"""Instances of a deleted version end; others do not notice."""

from types import SimpleNamespace

from tidemill.contracts.events import QueueRemoved
from tidemill.worker.instances.manager import InstanceManager


class Instance(SimpleNamespace):
    def drain(self):
        self.state = "draining"


def instance(queue, state="ready"):
    return Instance(queue=queue, state=state)


async def test_ready_instances_of_the_queue_drain():
    instances = {
        "a": instance("gone"),
        "b": instance("gone", "failed"),
        "c": instance("kept"),
    }
    engine = SimpleNamespace(instances=lambda: instances)
    manager = InstanceManager(engine, None, None, None, capacity=4, timeout_s=1)
    for _ in range(2):
        await manager.removed(QueueRemoved(queue="gone"))
        states = {name: one.state for name, one in instances.items()}
        assert states == {"a": "draining", "b": "failed", "c": "ready"}
    await manager.removed(QueueRemoved(queue="never heard of"))

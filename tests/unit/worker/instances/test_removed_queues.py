"""Instances of a deleted version end; others go on."""

from types import SimpleNamespace

from tidemill.contracts.events import QueueRemoved
from tidemill.worker.handlers.versions import VersionHandler
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
    table = SimpleNamespace(instances=lambda: instances)
    manager = InstanceManager(table, None, None, None, None, capacity=4, timeout_s=1)
    handler = VersionHandler(None, None, manager)
    for _ in range(2):
        await handler.on_removed(QueueRemoved(queue="gone"))
        states = {name: one.state for name, one in instances.items()}
        assert states == {"a": "draining", "b": "failed", "c": "ready"}
    await handler.on_removed(QueueRemoved(queue="never heard of"))

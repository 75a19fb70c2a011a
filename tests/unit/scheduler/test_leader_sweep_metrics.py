"""What the sweep's metrics say once another leads."""

from types import SimpleNamespace

from tidemill.scheduler.config import Config
from tidemill.scheduler.handlers.leader_sweep import LONGEST_WAIT, OPEN, WAITING, LeaderSweep


def test_whoever_does_not_lead_any_more_tells_of_nothing():
    gauges = (OPEN, WAITING, LONGEST_WAIT)
    for gauge in gauges:
        gauge.set(7)
    config = Config(database_url="", nats_url="")
    LeaderSweep(config, None, SimpleNamespace(connection=None), lambda *_: 0.0, 0.0).reset_gauges()
    assert [gauge._value.get() for gauge in gauges] == [0, 0, 0]

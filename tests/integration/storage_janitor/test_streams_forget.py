"""What the streams hold of predictions goes by itself, no later than the rows' data."""

from tidemill.contracts import subjects
from tidemill.contracts.events import LogsChunk
from tidemill.runtime.bus import Announcement, Bus
from tidemill.testing.running import until


async def test_lifecycle_events_and_live_output_go_when_the_retention_is_over(config):
    async with Bus(config.nats_url, "test", retention_s=1) as bus:
        await bus.announce(
            [
                Announcement(subjects.prediction("a", "completed", "g"), b'{"output": "secret"}'),
                Announcement(subjects.output("p"), b'{"text": "secret"}'),
            ]
        )
        await bus.send(subjects.output("p"), LogsChunk(attempt=1, seq=0, text="secret"))

        async def held():
            streams = (subjects.PREDICTIONS, subjects.OUTPUT)
            return [(await bus.jetstream.stream_info(stream.name)).state.messages for stream in streams]

        async def forgotten():
            return await held() == [0, 0]

        await until("both streams to be empty", forgotten)


async def test_a_longer_retention_is_applied_to_streams_that_exist(config):
    async with Bus(config.nats_url, "test", retention_s=1):
        pass
    async with Bus(config.nats_url, "test", retention_s=3600) as bus:
        for stream in (subjects.PREDICTIONS, subjects.OUTPUT):
            assert (await bus.jetstream.stream_info(stream.name)).config.max_age == 3600

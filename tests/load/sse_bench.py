"""Ten thousand clients of live output at one gateway: events a second, delay, CPU and memory.

`python tests/load/sse_bench.py [--clients 10000] [--predictions 100] [--seconds 10] [--burst 20]`. The real gateway as
a process, the real NATS and PostgreSQL; clients on the same machine in processes of their own, which cost about as much
as the gateway itself. First every prediction puts out an event a second, for the delays; then all that it can.
"""

import argparse
import asyncio
import multiprocessing
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from tidemill.contracts import subjects
from tidemill.contracts.events import DoneChunk, OutputChunk
from tidemill.contracts.ids import new_id
from tidemill.contracts.prediction import Status
from tidemill.runtime.bus import Announcement, encode
from tidemill.runtime.streams.urls import KIND
from tidemill.security import capability
from tidemill.testing.gateways import gateways
from tidemill.testing.servers import SIGNING_KEY

MIB = 1024 * 1024
CLIENT_PROCESSES = 2
CONNECTING = 50  # at a time, so that the gateway's backlog of 128 does not overflow
WITHIN_S = 300
TICKS = 20  # in a second
SENT_AT = re.compile(rb"data: at ([0-9.]+)\n")
INSERT = """
INSERT INTO prediction (id, account_id, model, version, queue, gateway, input, created_at, status)
SELECT unnest($1::text[]), $2, 'a/b', 'v', 'q', 'g', '{}', now(), 'processing'"""


class Client(asyncio.Protocol):
    """Counts what comes, as cheaply as can be."""

    def __init__(self, path, delays):
        self._path, self._delays = path, delays
        loop = asyncio.get_running_loop()
        self.opened, self.done = loop.create_future(), loop.create_future()
        self.events = 0

    def connection_made(self, transport):
        self._transport = transport
        transport.write(f"GET {self._path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n".encode())

    def data_received(self, data):
        if not self.opened.done():
            self.opened.set_result(data.startswith(b"HTTP/1.1 200"))
        self.events += data.count(b"event: output\n")
        now = time.monotonic()
        self._delays.extend(now - float(sent) for sent in SENT_AT.findall(data))
        if b"event: done\n" in data and not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def connection_lost(self, _error):
        for future in (self.opened, self.done):
            if not future.done():
                future.set_exception(ConnectionError("a stream broke off"))


def clients(paths, port, connection):
    """A process of clients: says when all are connected, and in the end what they received."""
    asyncio.run(_clients(paths, port, connection))


async def _clients(paths, port, connection):
    loop, delays, slots = asyncio.get_running_loop(), [], asyncio.Semaphore(CONNECTING)

    async def connect(path):
        async with slots:
            _, client = await loop.create_connection(lambda: Client(path, delays), "127.0.0.1", port)
            assert await client.opened, "the stream was refused"
            return client

    connected = await asyncio.gather(*(connect(path) for path in paths))
    connection.send("connected")
    await asyncio.gather(*(client.done for client in connected))
    connection.send((sum(client.events for client in connected), sorted(delays)))


class Bench:
    def __init__(self, served, predictions):
        self.served = served
        self.ids = [new_id() for _ in range(predictions)]
        self._seq = 0

    async def tick(self):
        """An event of every prediction, spread over a second."""
        started = time.monotonic()
        for part in range(TICKS):
            value = msgspec.Raw(msgspec.json.encode(f"at {time.monotonic()}"))
            chunk = encode(OutputChunk(attempt=1, seq=self._seq, value=value))
            await self._send(chunk, self.ids[part::TICKS])
            await asyncio.sleep(max(0.0, started + (part + 1) / TICKS - time.monotonic()))
        self._seq += 1

    async def begin(self):
        await self.served.database.execute(INSERT, self.ids, self.served.account)

    def path(self, prediction_id):
        token = capability.sign(bytes.fromhex(SIGNING_KEY), KIND, prediction_id, int(time.time()) + 3600)
        return f"/v1/streams/{token}"

    async def put_out(self, value):
        chunk = encode(OutputChunk(attempt=1, seq=self._seq, value=msgspec.Raw(msgspec.json.encode(value))))
        await self._publish(chunk)

    async def finish(self):
        await self._publish(encode(DoneChunk(attempt=1, seq=self._seq, status=Status.SUCCEEDED)))

    async def _publish(self, chunk):
        self._seq += 1
        await self._send(chunk, self.ids)

    async def _send(self, chunk, ids):
        await self.served.bus.announce([Announcement(subjects.output(each), chunk) for each in ids])


async def answers(connections):
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN_S):
        return await asyncio.gather(*(loop.run_in_executor(None, each.recv) for each in connections))


async def main(options):
    with tempfile.TemporaryDirectory() as directory:
        async with gateways(Path(directory)) as served:
            bench = Bench(served, options.predictions)
            await bench.begin()
            paths = [bench.path(bench.ids[number % len(bench.ids)]) for number in range(options.clients)]
            empty = served.memory_bytes()
            context = multiprocessing.get_context("spawn")
            pipes = [context.Pipe() for _ in range(CLIENT_PROCESSES)]
            port = urlsplit(served.urls[0]).port
            processes = [
                context.Process(target=clients, args=(paths[number::CLIENT_PROCESSES], port, there), daemon=True)
                for number, (_, there) in enumerate(pipes)
            ]
            for process, (_, there) in zip(processes, pipes, strict=True):
                process.start()
                there.close()  # so that the end of a process is seen
            connections = [here for here, _ in pipes]
            started, cpu_s = time.monotonic(), served.cpu_s()
            await answers(connections)
            took_s, cpu_s = time.monotonic() - started, served.cpu_s() - cpu_s
            each_kib = (served.memory_bytes() - empty) / options.clients / 1024
            print(f"{options.clients} clients of {options.predictions} predictions connected in {took_s:.1f} s")
            print(f"  {cpu_s / options.clients * 1e6:.0f} us of CPU and {each_kib:.1f} KiB of memory for each")

            started, cpu_s = time.monotonic(), served.cpu_s()
            for _ in range(options.seconds):
                await bench.tick()
            paced_s, paced_cpu_s = time.monotonic() - started, served.cpu_s() - cpu_s

            started, cpu_s = time.monotonic(), served.cpu_s()
            for number in range(options.burst):
                await bench.put_out(f"token {number} ")
            await bench.finish()
            peak = served.memory_bytes()
            received = await answers(connections)
            took_s, cpu_s = time.monotonic() - started, served.cpu_s() - cpu_s
            for process in processes:
                process.join()
            delays = sorted(delay for _, some in received for delay in some)
            total = sum(events for events, _ in received)
            assert total == options.clients * (options.seconds + options.burst), f"{total} events arrived"
            p50, p99 = (delays[int(len(delays) * share)] for share in (0.5, 0.99))
            rate = options.clients * options.seconds / paced_s
            print(f"an event a second each: {rate:.0f} events/s, gateway CPU {paced_cpu_s / paced_s * 100:.0f} %")
            print(f"  delay p50 {p50 * 1e3:.0f} ms  p99 {p99 * 1e3:.0f} ms  max {delays[-1] * 1e3:.0f} ms")
            burst = options.clients * (options.burst + 1)
            print(f"all that it can: {burst / took_s:.0f} events/s, {cpu_s / burst * 1e6:.0f} us of CPU for each")
            print(f"  memory {max(peak, served.memory_bytes()) / MIB:.0f} MiB (before the clients {empty / MIB:.0f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--predictions", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--burst", type=int, default=20)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < given.clients + 500:
        sys.exit(f"this needs {given.clients + 500} open files; {most} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (given.clients + 500, most))
    asyncio.run(main(given))

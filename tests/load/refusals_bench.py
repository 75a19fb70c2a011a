"""What an account that ignores its rate limit costs the others, and what a refusal costs beside a prediction.

`python tests/load/refusals_bench.py [--seconds 5] [--connections 200] [--rounds 2]`. A whole Tidemill with a no-op
model: one account without limits makes predictions and waits for them, 64 in flight; another one, with the limits that
accounts have, has used up its rate and sends on through so many connections, each as soon as it is answered, each
opened again when it is closed. CPU is that of all processes of the stack; only ratios within one run mean anything.
Exits with 1 when a refusal costs more than a tenth of a prediction, or the others keep less than half of their
throughput.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench import family, running_tidemill

IN_FLIGHT = 64
COST_GOAL = 0.1  # of a served prediction
THROUGHPUT_GOAL = 0.5
CROWD = 2000  # connections of the account when the cost is measured: many refusals, so that idle work does not count
WARM_UP_S = 3


class Closed(asyncio.Protocol):
    """One connection that sends its request again as soon as it is answered."""

    def __init__(self, request, statuses):
        self.request, self.statuses = request, statuses
        self.ended = asyncio.get_running_loop().create_future()
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        self.received += data
        head, separator, rest = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(rest) >= length:
            status = int(head[9:12])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.received = b""
            self.transport.write(self.request)

    def connection_lost(self, _error):
        if not self.ended.done():
            self.ended.set_result(None)


async def keep_sending(url, request, statuses):
    where = urlsplit(url)
    while True:
        with contextlib.suppress(OSError):
            transport, protocol = await asyncio.get_running_loop().create_connection(
                lambda: Closed(request, statuses), where.hostname, where.port
            )
            try:
                await protocol.ended
            finally:
                transport.abort()
            statuses["closed"] = statuses.get("closed", 0) + 1
        await asyncio.sleep(0)


def request_of(url, body, headers):
    where, content = urlsplit(url), json.dumps(body).encode()
    lines = [f"POST {where.path} HTTP/1.1", f"Host: {where.netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


async def send(url, request, connections, seconds):
    """How often each status came in these seconds, once all are connected."""
    statuses = {}
    tasks = [asyncio.ensure_future(keep_sending(url, request, statuses)) for _ in range(connections)]
    await asyncio.sleep(WARM_UP_S)
    statuses.clear()
    print("counting", flush=True)
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return statuses


class Sender:
    """`send` in a process of its own."""

    def __init__(self, url, request, connections, seconds):
        self.arguments = ["--send", url, str(connections), str(seconds)]
        self.request, self.seconds = request, seconds

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, *self.arguments, stdin=pipe, stdout=pipe
        )
        self.process.stdin.write(self.request)
        self.process.stdin.write_eof()
        await self.process.stdout.readline()  # it counts from now on
        return self

    async def __aexit__(self, *_):
        out = await self.process.stdout.read()
        await self.process.wait()
        self.statuses = json.loads(out)


async def measured(system, *senders):
    """CPU seconds of the stack while they send, by process."""
    async with contextlib.AsyncExitStack() as stack:
        for sender in senders:
            await stack.enter_async_context(sender)
        return await used(system, senders[-1].seconds)


async def used(system, seconds):
    before = family(system["pids"])
    await asyncio.sleep(seconds)
    return {name: s - before.get(name, 0.0) for name, s in family(system["pids"]).items()}


async def run(system, noisy, arguments):
    url, seconds = system["url"], arguments.seconds
    quiet_request = request_of(url, system["body"], system["headers"])
    noisy_request = request_of(url, system["body"], noisy)
    await send(url, quiet_request, 16, 2)  # warm
    await send(url, noisy_request, 8, 2)  # uses the burst up
    rows = []
    for number in range(arguments.rounds):

        def quiet():
            return Sender(url, quiet_request, IN_FLIGHT, seconds)

        def loud(connections=arguments.connections):
            return Sender(url, noisy_request, connections, seconds)

        idle = await used(system, seconds)
        alone, beside, crowd = quiet(), quiet(), loud(CROWD)
        alone_s = sum((await measured(system, alone)).values()) - sum(idle.values())
        # Only the gateway has to do with refusals; what the others do then is what they do when idle.
        crowd_s = (await measured(system, crowd))["gateway"] - idle["gateway"]
        attack = loud()
        attack_s = (await measured(system, attack))["gateway"] - idle["gateway"]
        # It goes on from before the others begin until they have ended.
        await measured(system, Sender(url, noisy_request, arguments.connections, 4 * seconds + WARM_UP_S), beside)
        refused = crowd.statuses.get("429", 0)
        row = {
            "alone/s": alone.statuses.get("201", 0) / seconds,
            "beside/s": beside.statuses.get("201", 0) / seconds,
            "refused/s": attack.statuses.get("429", 0) / seconds,
            "refused/s of a crowd": refused / seconds,
            "closed/s": attack.statuses.get("closed", 0) / seconds,
            "prediction us": alone_s / max(alone.statuses.get("201", 0), 1) * 1e6,
            "refusal us": crowd_s / max(refused, 1) * 1e6,
            "attack cores": attack_s / seconds,
        }
        print(f"round {number + 1}:", ", ".join(f"{name} {value:.2f}" for name, value in row.items()), flush=True)
        rows.append(row)
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def main():
    if "--send" in sys.argv:
        url, connections, seconds = sys.argv[2:5]
        print(json.dumps(asyncio.run(send(url, sys.stdin.buffer.read(), int(connections), float(seconds)))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="tidemill-refusals-") as folder,
        running_tidemill(Path(folder), "noop-async") as system,
    ):
        stack = system["stack"]
        stack.tidemill("account", "create", "--if-missing", "noisy")
        token = stack.tidemill("token", "create", "--print", "noisy").strip()
        middle = asyncio.run(run(system, {"Authorization": f"Bearer {token}"}, arguments))
    cost = middle["refusal us"] / middle["prediction us"]
    kept = middle["beside/s"] / middle["alone/s"]
    print(f"\na refusal costs {cost:.2f} of a prediction (goal {COST_GOAL}), taken {middle['attack cores']:.2f} cores")
    print(f"the others keep {kept:.2f} of their throughput: {middle['alone/s']:.0f} -> {middle['beside/s']:.0f}/s")
    print(f"{time.monotonic() - started:.0f} s")
    return int(cost > COST_GOAL or kept < THROUGHPUT_GOAL)


if __name__ == "__main__":
    sys.exit(main())

"""Works through an account's events one by one, whenever it runs: `subscribe_durable.py NAME`.

Needs `pip install nats-py`, and REPLICATE_API_TOKEN and REPLICATE_BASE_URL in the environment. The consumer NAME is
made by the first run. An event that is not acknowledged comes again, so what is done with it must do no harm twice.
"""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

import nats

TOKEN = os.environ["REPLICATE_API_TOKEN"]
BASE_URL = os.environ["REPLICATE_BASE_URL"].rstrip("/")


def call(path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(BASE_URL + path, data, headers), timeout=10) as answer:
        return json.load(answer)


def consumer(name: str) -> Any:
    """Makes it, or finds the one that an earlier run has made."""
    try:
        return call("/event-consumers", {"name": name})
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
        return next(known for known in call("/event-consumers")["results"] if known["name"] == name)


def tell_missed(identifier: str) -> None:
    """The account held more of the stream than its share while this program was away."""
    state = call(f"/event-consumers/{identifier}")
    if state["missed"]:
        print(
            f"missed {state['missed']} events from {state['missed_since']} to {state['missed_until']}", file=sys.stderr
        )


async def work(name: str) -> None:
    mine, events = consumer(name), call("/account")["events"]
    tell_missed(mine["id"])
    client = await nats.connect(events["url"], token=TOKEN, inbox_prefix=events["inbox_prefix"].encode())
    stream = client.jetstream(domain=events["jetstream_domain"])
    pulling = await stream.pull_subscribe_bind(consumer=mine["consumer"], stream=mine["stream"])
    while not client.is_closed:
        try:
            messages = await pulling.fetch(100, timeout=20)
        except TimeoutError:
            continue  # nothing happened
        for message in messages:
            event = json.loads(message.data)
            print(message.headers["ce-type"], event["id"], event["status"], flush=True)
            await message.ack()


async def main() -> None:
    while True:  # a connection lasts some hours; the consumer knows where to go on
        try:
            await work(sys.argv[1])
        except nats.errors.ConnectionClosedError:
            continue


asyncio.run(main())

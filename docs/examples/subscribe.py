"""Prints what happens to the predictions and trainings of an account, as it happens.

Needs `pip install nats-py`, and REPLICATE_API_TOKEN and REPLICATE_BASE_URL in the environment. What happens while this
program does not run is not shown; see subscribe_durable.py for that.
"""

import asyncio
import json
import os
import urllib.request
from typing import Any

import nats
from nats.aio.msg import Msg

TOKEN = os.environ["REPLICATE_API_TOKEN"]
BASE_URL = os.environ["REPLICATE_BASE_URL"].rstrip("/")


def access() -> Any:
    """Where to connect, what to subscribe to, and the prefix of inboxes."""
    request = urllib.request.Request(f"{BASE_URL}/account", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["events"]


async def show(message: Msg) -> None:
    event = json.loads(message.data)
    print(message.headers["ce-type"], event["id"], event["status"], event.get("output", ""), flush=True)


async def main() -> None:
    events = access()
    while True:  # a connection lasts some hours; nats-py leaves it to us to make the next
        ended = asyncio.Event()

        async def on_closed(ended: asyncio.Event = ended) -> None:
            ended.set()

        client = await nats.connect(
            events["url"],
            token=TOKEN,
            inbox_prefix=events["inbox_prefix"].encode(),
            closed_cb=on_closed,
        )
        for subject in events["subjects"]:
            await client.subscribe(subject, cb=show)
        await client.flush()
        print("listening", flush=True)
        await ended.wait()


asyncio.run(main())

"""10,000 predictions and over 1,000 boots, with crashes, hangs and out-of-memory: `./just soak [--predictions N]`.

Passes when each prediction has ended once and as it must, and no process, file, descriptor, lease or slot is left.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tidemill.testing.running import RunningStack, until
from tidemill.testing.soak import MODEL, SETTINGS, Leftovers, Soak, boots, leftovers

MODELS = Path(__file__).parents[1] / "models"
DESCRIPTORS_MARGIN = 8  # connections that a pool opens when it is busy, and keeps
MEMORY_MARGIN_MIB = 64
IDLE_WITHIN_S = 60


async def at_rest(stack: RunningStack) -> Leftovers:
    """Once the idle instances have been stopped; whatever is left then."""
    try:
        await until("nothing is left", lambda: _nothing_left(stack), within_s=IDLE_WITHIN_S)
    except AssertionError as error:
        print(error, flush=True)
    return await leftovers(stack)


async def _nothing_left(stack: RunningStack) -> bool:
    left = await leftovers(stack)
    return not left.processes and not left.folders and not left.open_predictions


async def watch(stack: RunningStack, soak: Soak) -> None:
    while True:
        await asyncio.sleep(10)
        ended = len(soak.heard)
        print(
            f"{ended:>7,} ended, {boots(stack):,} boots, {len((await leftovers(stack)).processes)} children", flush=True
        )


async def soaked(stack: RunningStack, options: argparse.Namespace) -> int:
    before = await at_rest(stack)
    soak = Soak(stack, count=options.predictions, at_once=options.at_once, seed=options.seed)
    started, watching = time.monotonic(), asyncio.create_task(watch(stack, soak))
    try:
        await soak.run(options.within_s)
    finally:
        watching.cancel()
    took_s = time.monotonic() - started
    faults, after = await soak.faults(), await at_rest(stack)
    print(f"asked: {dict(Counter(asked.do for asked in soak.asked).most_common())}")
    print(f"ended: {dict((await soak.ends()).most_common())}")
    booted = boots(stack)
    print(f"{options.predictions:,} predictions and {booted:,} boots in {took_s:.0f} s")
    print(f"before: {before}\nafter:  {after}")
    faults += grown(before, after)
    if booted < options.boots:
        faults.append(f"{booted} boots are fewer than {options.boots}")
    print("\n".join(faults[:50]) or "no fault")
    return int(bool(faults))


def grown(before: Leftovers, after: Leftovers) -> list[str]:
    left = [f"left behind: {each}" for each in (*after.processes, *after.folders)]
    if after.descriptors > before.descriptors + DESCRIPTORS_MARGIN:
        left.append(f"the worker's descriptors grew from {before.descriptors} to {after.descriptors}")
    if after.memory_mib > before.memory_mib + MEMORY_MARGIN_MIB:
        left.append(f"the worker grew from {before.memory_mib} to {after.memory_mib} MiB")
    if after.leases != before.leases:
        left.append(f"{after.leases} leases instead of {before.leases}")
    if after.open_predictions:
        left.append(f"{after.open_predictions} predictions are open")
    return left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=10_000)
    parser.add_argument("--boots", type=int, default=1_000, help="at least so many")
    parser.add_argument("--at-once", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--within-s", type=float, default=1800)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-soak-", dir="/var/tmp") as home:
        stack = RunningStack(Path(home), SETTINGS)
        try:
            stack.up("--no-catalogue")
            stack.tidemill("push", MODEL, str(MODELS / "soak"), "--hardware", "cpu-small")
            assert stack.tidemill("run", MODEL, "-i", "text=warm").strip() == "warm"
            return asyncio.run(soaked(stack, options))
        finally:
            stack.down()


if __name__ == "__main__":
    sys.exit(main())

"""Tidemill and coglet, the same no-op model, one generator, one run: only ratios within a run mean anything.

`./just bench [--seconds N] [--rounds N] [--concurrency 1,16,64,256]`. Needs wrk (Debian: apt-get install wrk).
Every Tidemill answer is a committed prediction; coglet keeps nothing.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil
from coglet_peer import peer_python, running_peer

from tidemill.stack.home import snapshot
from tidemill.testing.running import RunningStack

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WARM_UP_S = 2


def generate(url, body, headers, concurrency, seconds):
    env = {**os.environ, "BODY": json.dumps(body), "HEADERS": ";".join(f"{k}: {v}" for k, v in headers.items())}
    script = str(HERE / "post.lua")
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url]
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    result = json.loads(out.split("RESULT", 1)[1])
    good = result["requests"] - result["failed"]
    return {**result, "good": good, "per_s": good / result["seconds"]}


def family(pids):
    """Every process of a system by a short name, with the CPU seconds it has used."""
    used = {}
    for pid, name in pids.items():
        try:
            process = psutil.Process(pid)
            for one in [process, *process.children(recursive=True)]:
                times = one.cpu_times()
                label = name if one.pid == pid or name in {"postgres", "coglet"} else f"{name} children"
                used[label] = used.get(label, 0.0) + times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return used


def measure(system, concurrency, seconds):
    before = family(system["pids"])
    result = generate(system["url"], system["body"], system["headers"], concurrency, seconds)
    after = family(system["pids"])
    result["cpu_us"] = {
        name: round((after[name] - before.get(name, 0.0)) / max(result["good"], 1) * 1e6, 1) for name in after
    }
    return result


@contextmanager
def running_coglet(cache):
    """A coglet for one round: 0.23.1 loses a slot for each client that leaves amid its prediction, as wrk's do at the
    end of every measurement, and answers nothing but 503 once all of them are gone."""
    slots = {"COG_MAX_CONCURRENCY": "512"}
    with running_peer(peer_python(cache), HERE / "coglet", "Runner", cache / "coglet.log", slots) as peer:
        body = {"input": {"text": "hello world"}}
        wait_for_answer(peer.url, body, {})
        yield {"url": peer.url, "body": body, "headers": {}, "pids": {peer.pid: "coglet"}}


@contextmanager
def running_tidemill(home, model):
    stack = RunningStack(home)
    stack.up("--no-catalogue")
    try:
        name = f"local/{model}"
        stack.tidemill("push", name, str(ROOT / "deploy" / "catalogue" / model))
        headers = {"Authorization": f"Bearer {stack.token}", "Prefer": "wait"}
        url, body = f"{stack.base_url}/v1/predictions", {"version": name, "input": {"text": "hello world"}}
        wait_for_answer(url, body, headers)
        parts = snapshot.read(home / "run.json").parts
        pids = {part.pid: part.name for part in parts if part.pid}
        yield {"url": url, "body": body, "headers": headers, "pids": pids, "stack": stack}
    finally:
        stack.down()


def wait_for_answer(url, body, headers):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}, method="POST"
    )
    for _ in range(200):
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                if json.load(response)["status"] == "succeeded":
                    return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"no answer from {url}")


def table(results, concurrencies):
    print("\n| in flight | coglet /s (p50 ms) | Tidemill /s (p50, p99 ms) | ratio /s | ratio p50 | failed (both) |")
    print("|---|---|---|---|---|---|")
    for concurrency in concurrencies:
        ours, theirs = ([r for r in results[name] if r["c"] == concurrency] for name in ("tidemill", "coglet"))
        mid = {
            (who, key): statistics.median(r[key] for r in rows)
            for who, rows in (("t", ours), ("c", theirs))
            for key in ("per_s", "p50_ms", "p99_ms")
        }
        print(
            f"| {concurrency} | {mid['c', 'per_s']:.0f} ({mid['c', 'p50_ms']:.2f})"
            f" | {mid['t', 'per_s']:.0f} ({mid['t', 'p50_ms']:.2f}, {mid['t', 'p99_ms']:.1f})"
            f" | {mid['t', 'per_s'] / mid['c', 'per_s']:.2f} | {mid['t', 'p50_ms'] / mid['c', 'p50_ms']:.2f}"
            f" | {sum(r['failed'] for r in theirs)}, {sum(r['failed'] for r in ours)} |"
        )
    print("\nCPU microseconds a prediction, by process:")
    for concurrency in concurrencies:
        row = next(r for r in reversed(results["tidemill"]) if r["c"] == concurrency)
        parts = {name: us for name, us in sorted(row["cpu_us"].items(), key=lambda item: -item[1]) if us >= 1}
        print(
            f"  {concurrency:>3}: {sum(parts.values()):.0f} = " + ", ".join(f"{n} {us:.0f}" for n, us in parts.items())
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", default="1,16,64,256")
    parser.add_argument("--model", default="noop-async", help="a catalogue model: noop or noop-async")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    concurrencies = [int(text) for text in arguments.concurrency.split(",")]
    cache = ROOT / ".bench"
    cache.mkdir(exist_ok=True)
    results = {"tidemill": [], "coglet": []}
    with (
        tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder,
        running_tidemill(Path(folder), arguments.model) as tidemill,
    ):
        for round_ in range(arguments.rounds):
            with running_coglet(cache) as coglet:
                systems = {"coglet": coglet, "tidemill": tidemill}
                for system in systems.values():
                    measure(system, 16, WARM_UP_S)
                for concurrency in concurrencies:
                    for name, system in systems.items():
                        result = {"c": concurrency, **measure(system, concurrency, arguments.seconds)}
                        results[name].append(result)
                        print(f"round {round_ + 1} {name} {concurrency}: {result['per_s']:.0f}/s", flush=True)
    table(results, concurrencies)


if __name__ == "__main__":
    main()

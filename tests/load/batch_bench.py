"""What `@cog.batch` brings: one torch network through the real API, a prediction a call and many a call.

`python tests/load/batch_bench.py [--seconds N] [--rounds N] [--concurrency 1,64]`. Needs wrk (Debian: apt-get install
wrk). Both models have one instance, the same weights and the same threads; only ratios within a run mean anything.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import urllib.request
from pathlib import Path

from bench import generate, wait_for_answer

from tidemill.testing.running import RunningStack

MODEL = Path(__file__).parent.parent / "models" / "bench_batch"
ENTRIES = {"single": "Single", "batched": "Batched"}
SETTINGS = {"TIDEMILL_MAX_INSTANCES_PER_QUEUE": "1", "TIDEMILL_INSTANCES": "2"}
INPUT = {"value": 0.5}


def push(stack, folder, name, entry):
    directory = folder / name
    shutil.copytree(MODEL, directory, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "cog.yaml").write_text(f'predict: "predict.py:{entry}"\n')
    stack.tidemill("push", f"local/bench-{name}", str(directory))


def call_size(url, headers, model):
    """How many a call was for, by the last predictions of the model that are listed."""
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        results = json.load(response)["results"]
    ended = [one for one in results if one["model"] == model and one["status"] == "succeeded"]
    sizes = [one["metrics"].get("batch_size", 1) for one in ended]
    return statistics.mean(sizes)


def table(results, concurrencies):
    print("\n| in flight | single /s (p50, p99 ms) | batched /s (p50, p99 ms) | ratio /s | a call's size | failed |")
    print("|---|---|---|---|---|---|")
    for concurrency in concurrencies:
        mid = {}
        for name in ENTRIES:
            rows = [row for row in results[name] if row["c"] == concurrency]
            for key in ("per_s", "p50_ms", "p99_ms", "size"):
                mid[name, key] = statistics.median(row[key] for row in rows)
            mid[name, "failed"] = sum(row["failed"] for row in rows)
        cells = [f"{mid[n, 'per_s']:.0f} ({mid[n, 'p50_ms']:.1f}, {mid[n, 'p99_ms']:.1f})" for n in ENTRIES]
        print(
            f"| {concurrency} | {cells[0]} | {cells[1]} | {mid['batched', 'per_s'] / mid['single', 'per_s']:.1f}"
            f" | {mid['batched', 'size']:.1f} | {mid['single', 'failed'] + mid['batched', 'failed']} |"
        )


def measure(stack, arguments, concurrencies):
    headers = {"Authorization": f"Bearer {stack.token}", "Prefer": "wait"}
    url = f"{stack.base_url}/v1/predictions"
    bodies = {name: {"version": f"local/bench-{name}", "input": INPUT} for name in ENTRIES}
    for body in bodies.values():
        wait_for_answer(url, body, headers)
        generate(url, body, headers, 16, 2)
    results = {name: [] for name in ENTRIES}
    for round_ in range(arguments.rounds):
        for concurrency in concurrencies:
            for name, body in bodies.items():
                result = generate(url, body, headers, concurrency, arguments.seconds)
                size = call_size(url, headers, f"local/bench-{name}")
                results[name].append({"c": concurrency, **result, "size": size})
                rate = f"{result['per_s']:.0f}/s, {size:.1f} a call"
                print(f"round {round_ + 1} {name} {concurrency}: {rate}", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", default="1,64")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    concurrencies = [int(text) for text in arguments.concurrency.split(",")]
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as name:
        folder = Path(name)
        stack = RunningStack(folder / "home", SETTINGS)
        try:
            stack.up("--no-catalogue")
            for model, entry in ENTRIES.items():
                push(stack, folder, model, entry)
            results = measure(stack, arguments, concurrencies)
        finally:
            stack.down()
    table(results, concurrencies)


if __name__ == "__main__":
    main()

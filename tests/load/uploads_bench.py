"""What uploads take of a gateway's memory: large ones at once, and those that mean harm.

`python tests/load/uploads_bench.py [--parallel 20] [--megabytes 100] [--hostile 5]`. The real gateway as a process, the
real PostgreSQL and S3 store. Exits with 1 when the gateway grew by more than 64 MiB.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from tidemill.testing.gateways import gateways
from tidemill.testing.hostile_uploads import hostile_uploads, send

MIB = 1024 * 1024
BLOCK = bytes(256 * 1024)
LIMIT_BYTES = 64 * MIB
SAMPLE_S = 0.02


async def content(size_bytes):
    """A file that costs the sender nothing."""
    for _ in range(size_bytes // len(BLOCK)):
        yield BLOCK


async def upload(http, served, size_bytes):
    data = aiohttp.MultipartWriter("form-data")
    part = data.append(content(size_bytes))
    part.set_content_disposition("form-data", name="content", filename="zeros.bin")
    async with http.post(f"{served.urls[0]}/v1/files", data=data, headers=served.headers) as response:
        assert response.status == 201, await response.text()
        assert (await response.json())["size"] == size_bytes


async def measured(served, name, *doing):
    """Runs them at once; by how many bytes the gateway was larger than before at most."""
    before, peak = served.memory_bytes(), 0
    cpu_s, started = served.cpu_s(), time.monotonic()
    running = asyncio.gather(*doing)
    while not running.done():
        peak = max(peak, served.memory_bytes())
        await asyncio.sleep(SAMPLE_S)
    await running
    grown = peak - before
    took_s, cpu_s = time.monotonic() - started, served.cpu_s() - cpu_s
    print(f"{name:40} {took_s:6.1f} s  CPU {cpu_s:6.1f} s  memory {before / MIB:6.1f} + {grown / MIB:5.1f} MiB")
    return grown


async def main(options):
    with tempfile.TemporaryDirectory() as directory:
        async with gateways(Path(directory)) as served, aiohttp.ClientSession() as http:
            await upload(http, served, MIB)
            size_bytes = options.megabytes * MIB
            uploads = [upload(http, served, size_bytes) for _ in range(options.parallel)]
            grown = [await measured(served, f"{options.parallel} x {options.megabytes} MiB at once", *uploads)]
            for round_ in range(1, options.hostile + 1):
                hostile = [send(served.urls[0], served.headers, each) for each in hostile_uploads()]
                name = f"{len(hostile)} that mean harm at once, round {round_}"
                grown.append(await measured(served, name, *hostile))
    return sum(grown) > LIMIT_BYTES


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parallel", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--hostile", type=int, default=5)
    sys.exit(asyncio.run(main(parser.parse_args())))

"""No test depends on the machine's speed: what waits gives up late, and what is meant to run out does so at once."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Between the two lie limits that a busy machine exceeds: five seconds are generous on an idle one alone.
MEANT_TO_RUN_OUT_S = 2.5
PATIENT_S = 60.0
LIMITS = re.compile(
    r"(?:asyncio\.timeout\(|\bwithin_s=|\bwait_for\([^()]*(?:\([^()]*\))?[^()]*, )([0-9]+(?:\.[0-9]+)?)\b"
)
TESTS = sorted(
    path for path in (ROOT / "tests").rglob("*.py") if "models" not in path.parts and path.name != "test_waits.py"
)


def hasty(text):
    return [limit for limit in LIMITS.findall(text) if MEANT_TO_RUN_OUT_S < float(limit) < PATIENT_S]


def test_no_wait_of_a_test_is_short():
    assert {str(path.relative_to(ROOT)): found for path in TESTS if (found := hasty(path.read_text()))} == {}


def test_a_hasty_wait_is_seen():
    assert hasty("async with asyncio.timeout(5):") == ["5"]
    assert hasty("await asyncio.wait_for(task, 20)\nuntil('x', y, within_s=10)") == ["20", "10"]
    assert not hasty("asyncio.timeout(0.01)\nasyncio.timeout(120)\nasyncio.wait_for(reader, 120)")

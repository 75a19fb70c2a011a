"""Limits the size of the stack's logs.

Every process appends, so a log is copied and then truncated in place. Lines that are written between the two steps are
lost, which is acceptable for a stack on one machine.
"""

import os
import shutil
from pathlib import Path

MAX_LOG_BYTES = 20 * 1024**2
KEPT = 2
CHECK_EVERY_S = 10.0


def rotate_all(directory: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    for log in directory.glob("*.log"):
        if log.stat().st_size > max_bytes:
            rotate(log)


def rotate(log: Path) -> None:
    for age in range(KEPT - 1, 0, -1):
        older = Path(f"{log}.{age}")
        if older.exists():
            older.replace(f"{log}.{age + 1}")
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)

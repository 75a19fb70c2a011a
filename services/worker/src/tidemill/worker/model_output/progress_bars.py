"""Reads a prediction's progress from what it prints: the percentage of a tqdm-style progress bar. Pure."""

import re
from typing import Final

SCANNED_CHARS: Final = 1024  # a bar is one line of a terminal's width; only the last one counts
# What tqdm draws: "Denoising:  35%|███▌      | 7/20 [00:01<00:03]"; the "|" tells a bar from other percentages.
_BAR: Final = re.compile(r"(?:^|[\r\n:\s])(\d{1,3})(?:\.\d+)?%\|")


def progress(text: str) -> float | None:
    """Return the last bar's share, from 0 to 1, or None if the text holds no bar."""
    if "%|" not in text:
        return None
    shares = [int(percent) for percent in _BAR.findall(text[-SCANNED_CHARS:])]
    return next((share / 100 for share in reversed(shares) if share <= 100), None)

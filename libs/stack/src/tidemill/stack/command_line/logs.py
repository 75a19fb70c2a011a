"""`logs`: shows the ends of the logs and follows them, with JSON lines in readable form."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tidemill.stack.home.layout import Home
from tidemill.stack.processes.process import tail

FOLLOW_EVERY_S = 0.3
# Keys with a fixed place in a line, or left out; the others follow.
_PLACED = ("timestamp", "level", "event", "service")


class UnknownLogError(Exception):
    """There is no log of that name. The message lists the logs."""


def available(home: Home) -> list[Path]:
    return sorted(home.log_directory.glob("*.log"))


def chosen(home: Home, name: str | None) -> list[Path]:
    logs = available(home)
    found = logs if name is None else [log for log in logs if log.stem == name]
    if not found:
        names = ", ".join(log.stem for log in logs) or "none yet"
        raise UnknownLogError(f"no log {name or ''} in {home.log_directory}; there are: {names}")
    return found


def show(logs: Sequence[Path], lines: int, *, follow: bool, show_line: Callable[[str], None]) -> None:
    """Show the last lines of each log, with the name if there are several. With `follow`, go on until interrupted."""
    width = max(len(log.stem) for log in logs) if len(logs) > 1 else 0
    ends = {log: log.stat().st_size for log in logs}
    for log in logs:
        for line in tail(log, lines):
            show_line(prefixed(log, line, width))
    while follow:
        time.sleep(FOLLOW_EVERY_S)
        for log in logs:
            added, ends[log] = _added(log, ends[log])
            for line in added:
                show_line(prefixed(log, line, width))


def prefixed(log: Path, line: str, width: int) -> str:
    text = readable(line)
    return f"{log.stem:<{width}} | {text}" if width else text


def readable(line: str) -> str:
    """Return a JSON line as time, level, event and the rest as key=value, and any other line unchanged."""
    if not line.startswith("{"):
        return line
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict) or "event" not in event:
        return line
    head = [str(event[key]) for key in ("timestamp", "level", "event") if key in event]
    rest = [f"{key}={value}" for key, value in event.items() if key not in _PLACED and key != "exception"]
    trace = f"\n{event['exception']}" if event.get("exception") else ""
    return "  ".join([*head, *rest]) + trace


def _added(log: Path, end: int) -> tuple[list[str], int]:
    """Return the complete lines written since `end`, and the new end. A log that shrank was rotated: read it all."""
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(end if size >= end else 0)
        start = file.tell()
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), start + len(whole)

"""Every kind of value that a function can return, by its name."""

import collections
import dataclasses
import datetime
import enum
import os
import tempfile
from typing import Any, Optional

from cog import BaseModel, BasePredictor, File, Path, Secret


class Color(enum.Enum):
    RED = "red"


class Box(BaseModel):
    width: int
    image: Optional[Path]


@dataclasses.dataclass
class Point:
    x: float
    inner: Any = None


class Old:
    """As pydantic 1 had it."""

    def dict(self):
        return {"old": True}


def file(name="out.txt", text="file"):
    path = Path(tempfile.mkdtemp()) / name
    path.write_text(text)
    return path


MADE = {
    "text": lambda: "text",
    "number": lambda: 1.5,
    "nothing": lambda: None,
    "list": lambda: [1, "a", None],
    "tuple": lambda: (1, 2),
    "set": lambda: {1},
    "dict": lambda: {1: {"b": True}},
    "enum": lambda: Color.RED,
    "moment": lambda: datetime.datetime(2026, 1, 2, 3, 4, 5),
    "model": lambda: Box(width=2),
    "dataclass": lambda: Point(1.0, Point(2.0)),
    "old": Old,
    "ordered": lambda: collections.OrderedDict(a=1),
    "generator": lambda: (number for number in range(3)),
    "file": file,
    "file object": lambda: open(file("open.txt"), "rb"),
    "files": lambda: [file("same.txt", "one"), file("same.txt", "two")],
    "nested": lambda: {"a": {"b": [file("same.txt", "deep")]}, "box": Box(width=1, image=file("same.txt", "boxed"))},
    "not a number": lambda: float("nan"),
    "object": object,
    "missing": lambda: Path("/nowhere/at/all"),
    "secret": lambda: Secret("hunter2-hunter2"),
}


class Predictor(BasePredictor):
    def predict(self, kind: str) -> Any:
        return MADE[kind]()

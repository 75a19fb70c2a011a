"""Defaults that callers could not send are warned of, and nothing else is."""

import enum
from typing import Any, Literal

import pytest

from cog import BaseModel, Input, Path, Secret
from cog.coder import Coder
from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection.callables import inspect_callable
from tidemill.model.schema.defaults import check_files, warnings
from tidemill.model.values.coerce import build_kwargs


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Box(BaseModel):
    width: int = 1


class Point:
    def __init__(self, x: float) -> None:
        self.x = x


class PointCoder(Coder):
    @staticmethod
    def factory(tpe: Any) -> Coder | None:
        return PointCoder() if tpe is Point else None

    def encode(self, value: Any) -> dict[str, Any]:
        return {"x": value.x}

    def decode(self, value: dict[str, Any]) -> Any:
        raise AssertionError("a push does not run it")


def signature(annotation, default):
    def predict(given) -> str: ...

    predict.__annotations__["given"] = annotation
    predict.__defaults__ = (default,)
    return inspect_callable(predict)


@pytest.mark.parametrize(
    ("annotation", "default", "reason"),
    [
        (str, Input(default="c", choices=["a", "b"]), "must be one of"),
        (int, Input(default=3, choices=[1, 2]), "must be one of"),
        (list[str], Input(default=["a", "c"], choices=["a", "b"]), "must be one of"),
        (Literal["a", "b"], "c", "must be one of"),
        (str | None, Input(default="c", choices=["a", "b"]), "must be one of"),
        (int, Input(default=0, ge=1), "must be greater than or equal to 1"),
        (float, Input(default=2, le=1.5), "must be less than or equal to 1.5"),
        (str, Input(default="", min_length=1), "must have a length of at least 1"),
        (str, Input(default="abc", max_length=2), "must have a length of at most 2"),
        (list[int], Input(default=[1, 2], max_length=1), "must have a length of at most 1"),
        (str, Input(default="A", regex="^[a-z]+$"), "must match '^[a-z]+$'"),
        (int, "one", "must be a whole number, not a text"),
    ],
)
def test_a_default_that_its_input_refuses(annotation, default, reason):
    found = signature(annotation, default)
    (warning,) = warnings(found)
    assert warning.startswith(f"predict(): the default of 'given' is not what the input takes ({reason}")
    wanted = default.default if hasattr(default, "default") else default
    assert build_kwargs(found, {})["given"] == wanted, "as with Cog, the function gets it all the same"


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (str, Input(default="a", choices=["a", "b"])),
        (str, Input(choices=["a", "b"])),
        (str | None, Input(default=None, choices=["a", "b"])),
        (int, Input(default=None, ge=1)),
        (float, Input(default=1, ge=1, le=1)),
        (str, Input(default="ab", min_length=2, max_length=2, regex="b$")),
        (Color, Color.RED),
        (Color, "blue"),
        (Path, "https://example.com/a.png"),
        (list[Path], ["https://example.com/a.png"]),
        (Secret, Input(default="short", min_length=10)),  # nobody is shown a secret's default, so nobody sends it
        (Any, {"a": 1}),
        (dict | None, {}),
        (int | str | None, "a"),
        (Box, Box(width=2)),
    ],
)
def test_a_default_that_fits(annotation, default):
    assert warnings(signature(annotation, default)) == []


def test_nothing_of_the_authors_runs(monkeypatch):
    monkeypatch.setattr(Coder, "_coders", [PointCoder])
    assert warnings(signature(Point, Point(1.0))) == []


def test_a_training_is_named():
    def train(steps: int = Input(default=0, ge=1)) -> str: ...

    assert warnings(inspect_callable(train))[0].startswith("train(): the default of 'steps'")


@pytest.mark.parametrize(
    ("annotation", "default", "reason"),
    [
        (Path, Input(default="gs://bucket/a.png"), "is a text that begins with http"),
        (Path, Path("https://host/a.png"), "is 'https:/host/a.png'; a URL is a text"),
        (list[Path], Input(default=["https://host/a.png", "a.png"]), "holds URLs and files of the model"),
    ],
)
def test_a_file_default_that_nothing_can_open_is_refused(annotation, default, reason):
    with pytest.raises(ContractError, match=f"predict.*'given'.*{reason}"):
        check_files(signature(annotation, default))


def test_a_file_default_that_is_missing_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").write_bytes(b"x")
    for default in ("there.png", "https://host/a.png", "/anywhere/a.png"):
        check_files(signature(Path, Input(default=default)))
        assert warnings(signature(Path, Input(default=default))) == []
    (warning,) = warnings(signature(Path, Input(default="gone.png")))
    assert "'gone.png', which is not among the model's files" in warning

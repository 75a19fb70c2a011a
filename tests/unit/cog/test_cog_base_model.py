# ruff: noqa: RUF012, UP006, UP035, UP045 - models of older generations spell their types and defaults so

import dataclasses
from typing import ClassVar, List, Optional

import pydantic
import pytest

from cog import BaseModel, Input


def test_fields_may_be_positional_as_in_a_dataclass():
    class Output(BaseModel):
        text: str
        score: float = 0.5

    assert Output("a") == Output(text="a", score=0.5)
    assert dataclasses.is_dataclass(Output)
    assert repr(Output("a")).endswith("Output(text='a', score=0.5)")


def test_required_fields_may_follow_optional_ones():
    class Output(BaseModel):
        image: Optional[str]
        count: "int | None"
        text: str

    assert dataclasses.asdict(Output(text="a")) == {"image": None, "count": None, "text": "a"}


def test_a_missing_field_is_an_error():
    class Output(BaseModel):
        text: str

    with pytest.raises(TypeError, match="text"):
        Output()


def test_mutable_defaults_are_copied():
    class Output(BaseModel):
        tags: List[str] = ["a"]

    Output().tags.append("b")
    assert Output().tags == ["a"]


def test_defaults_given_by_field_functions():
    class Output(BaseModel):
        name: str = pydantic.Field(description="required")
        tags: List[str] = pydantic.Field(default_factory=list)
        score: float = pydantic.Field(default=0.5)
        label: str = Input(default="x")

    assert dataclasses.asdict(Output(name="n")) == {"name": "n", "tags": [], "score": 0.5, "label": "x"}
    with pytest.raises(TypeError, match="name"):
        Output()


def test_inheritance_and_class_variables():
    class Base(BaseModel):
        kind: ClassVar[str] = "base"
        a: int = 1

    class Derived(Base):
        b: int

    assert dataclasses.asdict(Derived(b=2)) == {"a": 1, "b": 2}
    assert Derived.kind == "base"


def test_a_field_may_be_called_like_anything():
    class Output(BaseModel):
        json: str
        dict: str

    assert Output(json="j", dict="d").json == "j"


def test_options_of_dataclass_and_none():
    class Frozen(BaseModel, frozen=True):
        a: int

    with pytest.raises(dataclasses.FrozenInstanceError):
        Frozen(1).a = 2

    class Plain(BaseModel, auto_dataclass=False):
        a: int = 1

    assert not dataclasses.is_dataclass(Plain)

    @dataclasses.dataclass
    class Twice(BaseModel):
        a: int

    assert Twice(1).a == 1

"""Every type that an input can have; answers what it got, and of which Python type."""

import dataclasses
import enum
from typing import Annotated, Any, Dict, List, Literal, Optional, Union

try:
    from typing import TypedDict
except ImportError:
    from typing_extensions import TypedDict

from cog import BaseModel, BasePredictor, Input, Opaque

SCHEDULERS = {"DDIM": object, "K_EULER": object}


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Message(TypedDict):
    role: str


class Box(BaseModel):
    width: int
    label: Optional[str]


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.5


class Predictor(BasePredictor):
    def predict(
        self,
        text: str = "t",
        whole: int = Input(default=1, ge=0, le=9),
        real: float = Input(default=0),
        flag: bool = False,
        optional: Optional[int] = None,
        omitted: int = Input(default=7),
        union: Union[str, float, None] = None,
        numbers: List[int] = Input(default=[1]),
        bare: list = Input(default=[]),
        options: dict = Input(default={}),
        table: Dict[str, float] = Input(default={}),
        message: Message = Input(default={"role": "user"}),
        messages: list[Message] = Input(default=[]),
        box: Box = Input(default={"width": 1}),
        point: Point = Input(default={"x": 1}),
        color: Color = Color.RED,
        size: Literal["small", "large"] = "small",
        scheduler: str = Input(default="DDIM", choices=SCHEDULERS.keys()),
        several: list[str] = Input(default=["a"], choices=["a", "b"]),
        opaque: Annotated[Any, Opaque] = Input(default=None),
        old: str = Input(default="", deprecated=True, regex="^[a-z]*$", max_length=3),
    ) -> dict[str, Any]:
        got = {name: value for name, value in locals().items() if name != "self"}
        numbers.append(99)  # a default is each prediction's own
        return {name: [type(value).__name__, repr(value)] for name, value in got.items()}

"""A signature guessed from the source says what one that was read from the loaded model says, as far as it can."""

import sys
from pathlib import Path

import pytest

from tidemill.model.errors.contract import ContractError
from tidemill.model.introspection.load import PREDICT_NAMES, TRAIN_NAMES, load_signature
from tidemill.model.introspection.static_signature import needs_gpu_or_network, read_signature
from tidemill.model.schema.openapi import openapi_schema

MODELS = Path(__file__).parents[3] / "models"
HEAD = """import typing
import cog
import torch.nope
from typing import Iterator, List, Literal, Optional
from cog import BasePredictor, ConcatenateIterator, Input, Path, Secret, concurrent
"""


def guessed(tmp_path, source, entry="predict.py:Predictor", names=PREDICT_NAMES):
    (tmp_path / "predict.py").write_text(HEAD + source)
    return openapi_schema(read_signature(entry, tmp_path, names))["components"]["schemas"]


@pytest.mark.parametrize("name", ["e2e_text", "e2e_file", "e2e_tokens", "e2e_sleep", "contract_sdxl", "contract_train"])
def test_it_is_the_schema_of_the_loaded_model(name, monkeypatch):
    directory = MODELS / name
    if not (directory / "predict.py").exists():
        pytest.skip("has another entry")
    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    try:
        loaded = openapi_schema(load_signature("predict.py:Predictor", directory))
    finally:
        for module in set(sys.modules) - before:
            del sys.modules[module]
    assert openapi_schema(read_signature("predict.py:Predictor", directory, PREDICT_NAMES)) == loaded


def test_a_training_function(tmp_path):
    signature = read_signature("train.py:train", MODELS / "contract_train", TRAIN_NAMES)
    assert [parameter.name for parameter in signature.parameters] == ["greeting", "steps"]
    assert openapi_schema(signature)["components"]["schemas"]["Input"]["required"] == ["greeting"]


def test_what_it_knows(tmp_path):
    schemas = guessed(
        tmp_path,
        """
SIZES = {"small": make_small(), "large": torch.nope.Large}
LEAST: int = -3

class Predictor(BasePredictor):
    @torch.inference_mode()
    def predict(
        self,
        image: Path = Input(description="A picture"),
        size: str = Input(choices=list(SIZES.keys()), default="small"),
        mode: Literal["a", "b"] = "a",
        count: "Optional[int]" = None,
        steps: int = Input(default=20, ge=LEAST, le=100),
        tags: List[str] = Input(default=["x"]),
        key: cog.Secret = Input(default=None),
        scale: typing.Optional[float] = Input(default=compute()),
        other: torch.nope.Thing = None,
        maybe: str | None = None,
    ) -> List[Path]:
        def inner():
            yield 1
        return []
""",
    )
    properties = schemas["Input"]["properties"]
    assert schemas["Input"]["required"] == ["image"]
    assert (properties["image"]["format"], properties["image"]["description"]) == ("uri", "A picture")
    assert schemas["size"]["enum"] == ["small", "large"]
    assert properties["size"]["default"] == "small"
    assert schemas["mode"]["enum"] == ["a", "b"]
    assert (properties["steps"]["minimum"], properties["steps"]["maximum"], properties["steps"]["default"]) == (
        -3,
        100,
        20,
    )
    assert properties["tags"]["items"] == {"type": "string"}
    assert properties["key"]["x-cog-secret"] is True
    assert [properties[name]["type"] for name in ("count", "scale", "maybe", "other")] == [
        "integer",
        "number",
        "string",
        "object",
    ]
    assert schemas["Output"]["items"] == {"type": "string", "format": "uri"}


@pytest.mark.parametrize(
    ("function", "array"),
    [
        ("def predict(self) -> ConcatenateIterator[str]:\n        yield 'a'", ("iterator", "concatenate")),
        ("def predict(self) -> Iterator[str]:\n        yield 'a'", ("iterator", None)),
        ("async def predict(self) -> str:\n        return 'a'", (None, None)),
    ],
)
def test_how_the_output_comes(tmp_path, function, array):
    output = guessed(tmp_path, f"class Predictor(BasePredictor):\n    {function}\n")["Output"]
    assert (output.get("x-cog-array-type"), output.get("x-cog-array-display")) == array


def test_marks_that_it_knows(tmp_path):
    method = "    @concurrent(max=4)\n    async def run(self) -> str:\n        return 'a'\n"
    (tmp_path / "predict.py").write_text(f"{HEAD}class Predictor(BasePredictor):\n{method}")
    assert read_signature("predict.py:Predictor", tmp_path, PREDICT_NAMES).concurrency == 4


@pytest.mark.parametrize(
    "source", ["Predictor = make()", "class Other: ...", "class Predictor:\n    def forward(self): ..."]
)
def test_what_is_not_there_is_no_guess(tmp_path, source):
    with pytest.raises(ContractError):
        guessed(tmp_path, source)


def test_nothing_is_run(tmp_path):
    opens = f"open({str(tmp_path / 'ran')!r}, 'w')"
    method = f'    def predict(self, text: str = Input(default={opens}), n: "{opens}" = 1) -> str: ...'
    schemas = guessed(tmp_path, f"{opens}\nclass Predictor(BasePredictor):\n{method}\n")
    assert set(schemas["Input"]["properties"]) == {"text", "n"}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (RuntimeError("Found no NVIDIA driver on your system"), True),
        (AssertionError("Torch not compiled with CUDA enabled"), True),
        (ImportError("libcuda.so.1: cannot open shared object file"), True),
        (OSError(101, "Network is unreachable"), True),
        (ConnectionError("refused"), True),
        (ModuleNotFoundError("No module named 'cuda'"), False),
        (SyntaxError("gpu"), False),
        (ContractError("its GPU annotation is missing"), False),
        (ValueError("no thought came"), False),
    ],
)
def test_which_failures_may_be_of_the_place(error, lacks):
    assert needs_gpu_or_network(error) is lacks


def test_the_cause_counts():
    error = ValueError("cannot load")
    error.__cause__ = RuntimeError("No CUDA GPUs are available")
    assert needs_gpu_or_network(error)

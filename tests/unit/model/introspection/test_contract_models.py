"""Whole models of each generation of Cog, loaded from disk and taken through schema, input and output."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

import cog
from cog._scope import Scope, set_scope
from tidemill.model.introspection.load import load_predictor, load_signature, load_train, setup_arguments
from tidemill.model.schema.openapi import openapi_schema
from tidemill.model.values.coerce import build_kwargs, unknown_inputs
from tidemill.model.values.encode import encode_output

MODELS = Path(__file__).resolve().parents[3] / "models"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def loader(name, entry="predict.py:Predictor", function=load_predictor, **options):
        return function(entry, MODELS / name, **options)

    return loader


def schemas(signature, **options):
    return openapi_schema(signature, **options)["components"]["schemas"]


def test_sdxl_schema_is_what_replicate_serves(load):
    found = schemas(load("contract_sdxl").signature)
    assert "required" not in found["Input"]
    properties = found["Input"]["properties"]
    assert list(properties) == [
        "prompt", "image", "mask", "width", "num_outputs", "scheduler", "guidance_scale", "seed", "refine",
        "disable_safety_checker",
    ]  # fmt: skip
    assert [each["x-order"] for each in properties.values()] == list(range(10))
    assert properties["num_outputs"] == {
        "type": "integer",
        "title": "Num Outputs",
        "minimum": 1,
        "maximum": 4,
        "default": 1,
        "x-order": 4,
        "description": "Number of images to output",
    }
    assert properties["scheduler"] == {
        "allOf": [{"$ref": "#/components/schemas/scheduler"}],
        "default": "K_EULER",
        "x-order": 5,
        "description": "scheduler",
    }
    assert found["scheduler"] == {
        "type": "string",
        "title": "scheduler",
        "enum": ["DDIM", "K_EULER", "PNDM"],
        "description": "An enumeration.",
    }
    assert properties["image"]["format"] == properties["mask"]["format"] == "uri"
    assert "default" not in properties["seed"]
    assert properties["seed"]["nullable"]
    assert found["Output"] == {
        "title": "Output",
        "type": "array",
        "items": {"type": "string", "format": "uri"},
    }


def test_sdxl_runs_with_defaults_behind_its_decorator(load):
    loaded = load("contract_sdxl")
    kwargs = build_kwargs(loaded.signature, {"num_outputs": 2, "width": 512, "seed": None})
    value, files = encode_output(loaded.call(**kwargs), loaded.signature.output.shape)
    assert value == [None, None]
    assert [(file.pointer, file.name) for file in files] == [("/0", "out-0.png"), ("/1", "out-1.png")]
    assert Path(files[0].path).read_text() == "An astronaut riding a rainbow unicorn 512 K_EULER 7.5"
    assert not loaded.is_async
    assert not loaded.is_generator


def test_the_same_signature_comes_without_an_instance(load):
    assert load("contract_sdxl", function=load_signature) == load("contract_sdxl").signature


def test_legacy_model_keeps_its_pydantic_habits(load, tmp_path):
    loaded = load("contract_legacy")
    audio, config = tmp_path / "a.wav", tmp_path / "c.txt"
    audio.write_text("sound")
    config.write_text("+config")
    given = {"audio": str(audio), "config": str(config), "token": "t", "temperature": 1, "stray": 1}
    kwargs = build_kwargs(loaded.signature, given)
    assert unknown_inputs(loaded.signature, given) == ["stray"]
    assert kwargs["token"].get_secret_value() == "t"
    assert kwargs["temperature"] == 1.0
    assert type(kwargs["temperature"]) is float
    output = loaded.call(**kwargs)
    kwargs["config"].close()
    assert encode_output(output, loaded.signature.output.shape) == (
        {
            "language": None,
            "text": "sound+config",
            "segments": [{"text": "sound+config", "start": 1.0}],
            "subtitles": None,
        },
        [],
    )
    found = schemas(loaded.signature)
    assert found["Input"]["required"] == ["audio"]
    assert found["Input"]["properties"]["token"]["x-cog-secret"] is True
    assert found["Output"]["required"] == ["text", "segments"]
    assert found["Output"]["properties"]["subtitles"]["format"] == "uri"


def test_mutable_defaults_are_not_shared_between_predictions(load):
    signature = load("contract_legacy").signature
    first = build_kwargs(signature, {"audio": "/a"})
    first["extra"]["left"] = "behind"
    assert build_kwargs(signature, {"audio": "/a"})["extra"] == {}


def test_llm_streams_text_and_records_metrics(load):
    loaded = load("contract_llm")
    assert schemas(loaded.signature)["Output"] == {
        "title": "Output",
        "type": "array",
        "items": {"type": "string"},
        "x-cog-array-type": "iterator",
        "x-cog-array-display": "concatenate",
    }
    assert loaded.is_generator
    recorded = []
    scope = Scope({}, lambda *message: recorded.append(message))
    set_scope(scope)
    try:
        loaded.setup(**setup_arguments(loaded, None))
        chunks = list(loaded.call(**build_kwargs(loaded.signature, {"prompt": "a b c", "max_tokens": 2})))
    finally:
        set_scope(None)
    assert chunks == ["a!", "b!"]
    assert recorded == [("tokens.output", 1, "incr")] * 2 + [("input_token_count", 5, "replace")]
    assert scope.metrics["tokens.output"] == 2


def test_async_llm(load):
    loaded = load("contract_async")
    assert (loaded.is_async, loaded.is_generator, loaded.concurrency) == (True, True, 4)
    assert loaded.healthcheck is not None
    kwargs = build_kwargs(loaded.signature, {"messages": [{"content": "hi"}, {}]})

    async def collect():
        await loaded.setup(**setup_arguments(loaded, None))
        assert await loaded.healthcheck()
        return [chunk async for chunk in loaded.call(**kwargs)]

    assert asyncio.run(collect()) == ["hi", ""]
    assert schemas(loaded.signature)["Input"]["properties"]["messages"] == {
        "type": "array",
        "items": {"type": "object"},
        "title": "Messages",
        "x-order": 0,
        "description": "The conversation",
    }


def test_runner_of_the_newest_generation(load):
    loaded = load("contract_runner", "predict.py:Runner")
    assert loaded.setup is None
    assert loaded.signature.streaming
    document = openapi_schema(loaded.signature)
    assert document["x-cog-streaming"] is True
    assert document["paths"] == {}
    properties = document["components"]["schemas"]["Input"]["properties"]
    assert properties["value"] == {
        "anyOf": [{"type": "string"}, {"type": "number"}],
        "title": "Value",
        "default": None,
        "nullable": True,
        "x-order": 2,
    }
    assert properties["options"] == {"type": "object", "title": "Options", "nullable": True, "x-order": 3}
    assert properties["tags"]["maxItems"] == 3
    kwargs = build_kwargs(loaded.signature, {"value": 3, "options": {"any": [1]}, "size": "large"})
    chunks = [encode_output(chunk, loaded.signature.output.shape)[0] for chunk in loaded.call(**kwargs)]
    assert chunks == [{"size": "large", "tags": ["a"]}, {"seed": None, "value": 3, "options": {"any": [1]}}]


def test_training(load, tmp_path):
    train = load("contract_train", "train.py:train", load_train)
    value, files = encode_output(train.call(**build_kwargs(train.signature, {"greeting": "moin"})))
    assert value == {"weights": None}
    assert [(file.pointer, file.name) for file in files] == [("/weights", "weights.txt")]
    predictor = load("contract_train")
    arguments = setup_arguments(predictor, files[0].path)
    assert isinstance(arguments["weights"], cog.Path)
    predictor.setup(**arguments)
    assert predictor.call(name="you") == "moin you"
    found = schemas(predictor.signature, train_signature=train.signature)
    assert found["TrainingInput"]["required"] == ["greeting"]
    assert found["TrainingOutput"]["properties"] == {"weights": {"type": "string", "format": "uri", "title": "Weights"}}
    assert found["TrainingRequest"]["properties"]["input"] == {"$ref": "#/components/schemas/TrainingInput"}
    assert found["TrainingResponse"]["properties"]["output"] == {"$ref": "#/components/schemas/TrainingOutput"}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [(None, None), ("/w.tar", cog.Path("/w.tar"))],
)
def test_weights_of_setup(load, weights, expected):
    assert setup_arguments(load("contract_train"), weights) == {"weights": expected}


def test_weights_url_stays_a_url(load):
    weights = setup_arguments(load("contract_train"), "https://host/w.tar")["weights"]
    assert isinstance(weights, cog.URLPath)
    assert str(weights) == "https://host/w.tar"


def test_the_document_is_deterministic_json(load):
    signature = load("contract_sdxl").signature
    texts = {json.dumps(openapi_schema(signature), allow_nan=False) for _ in range(3)}
    texts.add(json.dumps(openapi_schema(load("contract_sdxl").signature), allow_nan=False))
    assert len(texts) == 1
    assert list(json.loads(texts.pop())["components"]["schemas"]) == [
        "Input", "Output", "scheduler", "refine", "PredictionRequest", "PredictionResponse", "Status", "WebhookEvent",
        "ValidationError", "HTTPValidationError",
    ]  # fmt: skip

"""What a model may declare, take and return, as a table: each row is a small model of ours, pushed to a running system
and asked through its API. Models in the manner of real ones follow, of each generation.

The models are the files of tests/models/contract_table, and the folders contract_* beside it.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tidemill.cli.model_directory.bundle import list_files
from tidemill.testing.running import until

MODELS: Final = Path(__file__).parent.parent / "models"
TABLE: Final = MODELS / "contract_table"
PUSH_WITHIN_S: Final = 300
SECRET: Final = "hunter2-correct-horse"
ENTRIES: Final = {  # name -> entry, and what else its cog.yaml says
    "inputs": "predict: inputs.py:Predictor",
    "outputs": "predict: outputs.py:Predictor",
    "files": "predict: files.py:Predictor",
    "function": "run: function.py:run",
    "coroutine": "predict: coroutine.py:predict",
    "words": "predict: words.py:Predictor",
    "async-words": "run: async_words.py:Runner",
    "scope": "predict: scope.py:Predictor",
    "health": "predict: health.py:Predictor",
    "decorated": "predict: decorated.py:Predictor",
    "imports": "predict: imports.py:Predictor",
    "pydantic-2": "predict: records.py:Predictor\nbuild: {python_packages: [pydantic==2.12.4]}",
    "pydantic-1": "predict: records.py:Predictor\nbuild: {python_packages: [pydantic==1.10.24]}",
}
FOLDERS: Final = (
    *("contract_sdxl", "contract_llm", "contract_legacy", "contract_async", "contract_runner"),
    "contract_default_file",
)
ENDED: Final = {"succeeded", "failed", "canceled", "aborted"}


def data_uri(text: str, media_type: str = "text/plain") -> str:
    return f"data:{media_type};base64,{base64.b64encode(text.encode()).decode()}"


class Models(NamedTuple):
    """The models under their names, and the API."""

    session: Any

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        async with self.session.request(method, f"/v1{path}", json=body, headers=headers) as response:
            answer = await response.json()
            return {**answer, "status_code": response.status}

    async def start(self, model: str, given: dict[str, Any], **more: Any) -> Any:
        return await self.call("POST", f"/models/local/contract-{model}/predictions", {"input": given, **more})

    async def __call__(self, model: str, /, **given: Any) -> Any:
        """The prediction when it has ended; a refusal as the API answers it."""
        path = f"/models/local/contract-{model}/predictions"
        answer = await self.call("POST", path, {"input": given}, Prefer="wait=50")
        if answer["status_code"] != 201 or answer["status"] in ENDED:
            return answer
        return await self.ended(answer["id"])

    async def status(self, made: Any) -> str:
        found: str = (await self.call("GET", f"/predictions/{made['id']}"))["status"]
        return found

    async def ended(self, made: str) -> Any:
        async def look() -> Any:
            answer = await self.call("GET", f"/predictions/{made}")
            return answer if answer["status"] in ENDED else None

        return await until("the prediction to end", look, within_s=300)

    async def output(self, model: str, /, **given: Any) -> Any:
        done = await self(model, **given)
        assert done.get("status") == "succeeded", done
        return done["output"]

    async def file(self, url: str) -> str:
        async with self.session.get(url) as response:
            assert response.status == 200
            return await response.text()

    async def schema(self, model: str) -> Any:
        version = (await self.call("GET", f"/models/local/contract-{model}"))["latest_version"]
        return version["openapi_schema"]["components"]["schemas"]


@pytest.fixture(scope="module")
async def pushed(stack, tmp_path_factory):
    folders = {name.removeprefix("contract_"): MODELS / name for name in FOLDERS}
    for name, config in ENTRIES.items():
        folders[name] = folder = tmp_path_factory.mktemp(name)
        (folder / "cog.yaml").write_text(config)
        file = config.partition(": ")[2].partition(":")[0]
        (folder / file).write_bytes((TABLE / file).read_bytes())
    async with stack.session() as session, asyncio.TaskGroup() as pushes:
        for name, folder in folders.items():
            pushes.create_task(push(Models(session), name, folder))


async def push(models: "Models", name: str, folder: Path) -> None:
    """As `tidemill push` does it, without a process for each: they all wait for one worker anyway."""
    model = f"/models/local/contract-{name}"
    made = {"owner": "local", "name": f"contract-{name}", "visibility": "private", "hardware": "cpu"}
    await models.call("POST", "/models", made)
    files = list_files(folder)
    answer = await models.call("POST", f"{model}/pushes", {"files": msgspec.to_builtins(files)})
    for file in files:
        if file.sha256 in answer["missing"]:
            content = (folder / file.path).read_bytes()
            async with models.session.put(f"/v1/blobs/{file.sha256}", data=content) as response:
                assert response.status < 300, await response.text()
    if answer["missing"]:
        await models.call("POST", f"/pushes/{answer['id']}/start")

    async def ended() -> Any:
        found = await models.call("GET", f"/pushes/{answer['id']}")
        return found if found["status"] not in {"uploading", "queued", "building"} else None

    done = await until(f"the push of {name}", ended, within_s=PUSH_WITHIN_S)
    assert done["status"] == "succeeded", done


@pytest.fixture
async def models(stack, pushed):
    async with stack.session() as session:
        yield Models(session)


INPUTS: Final = [
    # name, what is sent, the type that the function sees, its repr
    ("text", "ü", "str", "'ü'"),
    ("text", "https://example.com/a.png", "str", "'https://example.com/a.png'"),
    ("text", None, "str", "'t'"),
    ("whole", 2, "int", "2"),
    ("whole", 2.0, "int", "2"),
    ("real", 2, "float", "2.0"),
    ("flag", True, "bool", "True"),
    ("optional", 3, "int", "3"),
    ("optional", None, "NoneType", "None"),
    ("omitted", None, "int", "7"),
    ("union", "a", "str", "'a'"),
    ("union", 1.5, "float", "1.5"),
    ("union", None, "NoneType", "None"),
    ("numbers", [1, 2], "list", "[1, 2, 99]"),
    ("numbers", None, "list", "[1, 99]"),
    ("bare", [1, "a", {}], "list", "[1, 'a', {}]"),
    ("options", {"a": [1]}, "dict", "{'a': [1]}"),
    ("table", {"a": 1}, "dict", "{'a': 1.0}"),
    ("message", {"role": "system"}, "dict", "{'role': 'system'}"),
    ("messages", [{"role": "a"}], "list", "[{'role': 'a'}]"),
    ("box", {"width": 2, "label": "b"}, "Box", "Box(width=2, label='b')"),
    ("box", {"width": 2}, "Box", "Box(width=2, label=None)"),
    ("point", {"x": 2}, "Point", "Point(x=2.0, y=0.5)"),
    ("color", "blue", "Color", "<Color.BLUE: 'blue'>"),
    ("color", None, "Color", "<Color.RED: 'red'>"),
    ("size", "large", "str", "'large'"),
    ("scheduler", "K_EULER", "str", "'K_EULER'"),
    ("several", ["b", "a"], "list", "['b', 'a']"),
    ("opaque", {"any": 1}, "dict", "{'any': 1}"),
    ("old", "abc", "str", "'abc'"),
]


@pytest.mark.parametrize(("name", "sent", "kind", "shown"), INPUTS)
async def test_an_input_arrives_as_its_type(models, name, sent, kind, shown):
    assert (await models.output("inputs", **{name: sent}))[name] == [kind, shown]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("text", 1),
        ("whole", 10),
        ("whole", 1.5),
        ("real", "1"),
        ("flag", "true"),
        ("union", []),
        ("numbers", ["a"]),
        ("table", {"a": "b"}),
        ("box", {}),
        ("color", "green"),
        ("size", "medium"),
        ("scheduler", "PNDM"),
        ("several", ["c"]),
        ("old", "abcd"),
        ("old", "A"),
    ],
)
async def test_an_input_that_does_not_fit_is_refused_by_name(models, name, sent):
    refused = await models("inputs", **{name: sent})
    assert refused["status_code"] == 422, refused
    assert refused["invalid_fields"][0]["field"].startswith(f"input.{name}")


async def test_unknown_inputs_are_left_out_and_named_in_the_logs(models):
    done = await models("inputs", text="a", stray=1, other=None)
    assert done["status"] == "succeeded"
    assert "stray" not in done["output"]
    assert done["logs"].startswith("Warning: ")
    assert "stray" in done["logs"]
    assert "text" not in done["logs"]
    assert (await models("inputs", text="a"))["logs"] == ""


async def test_a_schema_says_what_forms_and_clients_need(models):
    schemas = await models.schema("inputs")
    properties = schemas["Input"]["properties"]
    assert [each["x-order"] for each in properties.values()] == list(range(len(properties)))
    assert "required" not in schemas["Input"]
    assert schemas["scheduler"]["enum"] == ["DDIM", "K_EULER"]
    assert properties["scheduler"]["allOf"] == [{"$ref": "#/components/schemas/scheduler"}]
    assert (properties["old"]["deprecated"], properties["old"]["pattern"]) == (True, "^[a-z]*$")
    assert (properties["whole"]["minimum"], properties["whole"]["maximum"]) == (0, 9)
    assert properties["union"]["anyOf"] == [{"type": "string"}, {"type": "number"}]
    assert properties["table"]["additionalProperties"] == {"type": "number"}
    assert properties["box"]["required"] == ["width"]
    files = (await models.schema("files"))["Input"]["properties"]
    assert (files["one"]["format"], files["one"]["x-cog-accept"]) == ("uri", ["image/*", ".txt"])
    assert files["many"]["items"] == {"type": "string", "format": "uri"}
    secret = (await models.schema("function"))["Input"]["properties"]["token"]
    assert (secret["format"], secret["x-cog-secret"], secret["writeOnly"]) == ("password", True, True)
    words = (await models.schema("words"))["Output"]
    assert (words["x-cog-array-type"], words["x-cog-array-display"]) == ("iterator", "concatenate")


OUTPUTS: Final = [
    ("text", "text"),
    ("number", 1.5),
    ("nothing", None),
    ("list", [1, "a", None]),
    ("tuple", [1, 2]),
    ("set", [1]),
    ("dict", {"1": {"b": True}}),
    ("enum", "red"),
    ("moment", "2026-01-02T03:04:05"),
    ("model", {"width": 2, "image": None}),
    ("dataclass", {"x": 1.0, "inner": {"x": 2.0, "inner": None}}),
    ("old", {"old": True}),
    ("ordered", {"a": 1}),
    ("generator", [0, 1, 2]),
]


@pytest.mark.parametrize(("kind", "expected"), OUTPUTS)
async def test_an_output_is_plain_json(models, kind, expected):
    assert await models.output("outputs", kind=kind) == expected


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("not a number", "JSON has no NaN"),
        ("object", "of type object"),
        ("missing", "cannot be read"),
        ("secret", "of type Secret"),
    ],
)
async def test_an_output_that_cannot_be_sent_fails_with_the_reason(models, kind, reason):
    done = await models("outputs", kind=kind)
    assert (done["status"], reason in done["error"]) == ("failed", True), done
    assert SECRET not in json.dumps(done)


async def test_files_of_an_output_are_uploaded_wherever_they_stand(models):
    single, opened = await models.output("outputs", kind="file"), await models.output("outputs", kind="file object")
    assert [await models.file(url) for url in (single, opened)] == ["file", "file"]
    assert opened.partition("?")[0].endswith("open.txt")
    files = await models.output("outputs", kind="files")
    assert [await models.file(url) for url in files] == ["one", "two"]
    nested = await models.output("outputs", kind="nested")
    found = [await models.file(nested["a"]["b"][0]), await models.file(nested["box"]["image"])]
    assert found == ["deep", "boxed"]
    async with models.session.get(single) as response:
        assert response.content_type == "text/plain"


async def test_a_file_arrives_with_its_name_and_suffix_and_goes_afterwards(models):
    uploaded = await _upload(models, "notes 1.md", "from the files API")
    async with _served("/pictures/a%20b.png", "from a URL") as url:
        given = {"one": data_uri("from data", "image/png"), "many": [uploaded, url, f"{url}?size=1#top"], "maybe": None}
        done = await models.output("files", **given, text=url)
    names, texts = zip(*done["files"], strict=True)
    assert texts == ("from data", "from the files API", "from a URL", "from a URL")
    assert [name.rpartition(".")[2] for name in names] == ["png", "md", "png", "png"]
    assert "notes" in names[1]
    assert names[2].startswith("a")
    assert done["text"] == url  # a str stays what it is
    opened = data_uri("opened")
    after = await models.output("files", opened=opened)
    assert after == {"files": [], "left": [], "text": "", "opened": "opened"}


@pytest.mark.parametrize(
    "sent",
    ["/etc/hostname", "file:///etc/hostname", "ftp://example.com/a", "a.png", "", "http://169.254.169.254/latest"],
)
async def test_anything_else_is_no_file(models, sent):
    done = await models("files", one=sent)
    assert done["status_code"] == 422 or (done["status"] == "failed" and done["error"]), done
    assert not done.get("output")


async def test_a_secret_is_shown_nowhere(models, receiver):
    body = {"webhook": receiver.url, "webhook_events_filter": ["start", "logs", "completed"]}
    made = await models.start("function", {"token": SECRET}, **body)
    done = await models.ended(made["id"])
    assert done["output"] == f"{len(SECRET)} x"
    for said in ("as text **********", "[secret] in two pieces", "[secret] of a process"):
        assert said in done["logs"]
    delivered = await until("the last webhook", lambda: [d for d in receiver.deliveries if "succeeded" in d.body])
    assert json.loads(delivered[-1].body)["id"] == made["id"]
    listed = await models.call("GET", "/predictions")
    for shown in [made["logs"], done["logs"], *(json.loads(d.body)["logs"] or "" for d in receiver.deliveries)]:
        assert SECRET not in shown
    for place in (made, done, listed, [delivery.body for delivery in receiver.deliveries]):
        assert SECRET not in json.dumps(place)


async def test_a_secret_is_not_in_an_error_either(models):
    done = await models("function", token=SECRET, fail=True)
    assert done["status"] == "failed"
    assert SECRET not in done["error"]
    assert SECRET not in done["logs"]
    assert "ValueError" in done["logs"]
    refused = await models("function", token=[SECRET])
    assert (refused["status_code"], SECRET in json.dumps(refused)) == (422, False)


async def test_an_async_function_runs_several_at_once_each_with_its_logs(models):
    names = ["a", "b", "c"]
    made = await asyncio.gather(*(models("coroutine", name=name, together=3) for name in names))
    assert [each["output"] for each in made] == [f"{name} of ['a', 'b', 'c']" for name in names]
    assert [each["logs"] for each in made] == [f"{name} is here\n{name} goes\n" for name in names]


@pytest.mark.parametrize("model", ["words", "async-words"])
async def test_a_generator_is_heard_while_it_yields(models, model):
    made = await models.start(model, {"wait_s": 100})
    async with asyncio.timeout(60), models.session.get(made["urls"]["stream"]) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                break
    assert b"first" in line or model == "async-words"
    assert await models.status(made) in {"starting", "processing"}  # its row may be a little behind
    await models.call("POST", f"/predictions/{made['id']}/cancel")
    assert (await models.ended(made["id"]))["status"] == "canceled"


async def test_generators_to_their_end(models):
    assert await models.output("words", wait_s=0) == ["first ", "last"]
    words = await models.output("async-words", wait_s=0)
    assert [word["text"] for word in words] == ["first", "last"]
    assert [await models.file(word["file"]) for word in words] == ["first", "last"]


async def test_metrics_and_context(models):
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    path = "/models/local/contract-scope/predictions"
    done = await models.call("POST", path, {"input": {"do": "metrics"}}, Prefer="wait=50", traceparent=trace)
    assert done["output"]["traceparent"].startswith(f"00-{'a' * 32}-"), done
    metrics = done["metrics"]
    assert (metrics["tokens"], metrics["steps"]) == ({"output": 5}, ["a", "b"])
    assert (metrics["name"], metrics["old"]) == ("x", True)
    assert not {"gone", "outside"} & metrics.keys()
    assert metrics["predict_time"] > 0
    assert (await models("scope", do="bar"))["metrics"]["progress"] == 0.5


async def test_a_cancel_is_an_exception_that_the_model_may_clean_up_after(models):
    before = await models.output("scope", do="cleanups")
    made = await models.start("scope", {"do": "wait"})

    async def waits() -> bool:
        return "waiting" in ((await models.call("GET", f"/predictions/{made['id']}"))["logs"] or "")

    await until("the model to wait", waits)
    assert (await models.call("POST", f"/predictions/{made['id']}/cancel"))["status"] == "canceled"
    assert await models.output("scope", do="cleanups") == before + 1


async def test_what_nobody_canceled_is_not_canceled(models):
    done = await models("scope", do="give_up")
    assert (done["status"], done["error_code"]) == ("failed", "model_error"), done
    assert "nobody had canceled" in done["error"]
    assert "CancelationException" in done["logs"]


async def test_who_says_that_it_is_ill_is_replaced(models):
    first = await models.output("health")
    assert await models.output("health", sicken=True) == first

    async def another() -> bool:
        return await models.output("health", sicken=True) != first

    await until("another instance", another, within_s=300)


async def test_a_decorator_of_torch_on_predict(models):
    assert await models.output("decorated") == [8.0]
    assert await models.output("decorated", value=3, power=None) == [27.0]


async def test_old_imports(models):
    url = "https://example.com/a/b%20c.png"
    assert await models.output("imports", url=url) == [True, "b c.png"]


@pytest.mark.parametrize("generation", [1, 2])
async def test_models_of_pydantic(models, generation):
    name = f"pydantic-{generation}"
    settings = {"steps": 3, "names": ["a"]}
    assert await models.output(name, settings=settings) == {"version": generation, "settings": settings}
    assert (await models.output(name, settings={"steps": 3}))["settings"]["names"] == []
    assert (await models(name, settings={"steps": "many"}))["status_code"] == 422
    assert (await models.schema(name))["Input"]["properties"]["settings"]["required"] == ["steps"]


async def test_the_shape_of_an_image_model_of_2023(models):
    given = {"prompt": "a cat", "image": data_uri("x", "image/png"), "mask": None, "num_outputs": 2, "seed": None}
    files = await models.output("sdxl", **given, scheduler="DDIM")
    assert [url.partition("?")[0].rpartition("/")[2] for url in files] == ["out-0.png", "out-1.png"]
    assert await models.file(files[0]) == "a cat 1024 DDIM 7.5"
    assert (await models("sdxl", scheduler="NONE"))["status_code"] == 422


async def test_the_shape_of_a_language_model_that_streams(models):
    done = await models("llm", prompt="to be or not", max_tokens=3)
    assert done["output"] == ["to!", "be!", "or!"]
    assert done["metrics"]["tokens"] == {"output": 3}
    assert done["metrics"]["input_token_count"] == 12
    assert await models.output("llm", prompt="") == []


async def test_the_shape_of_a_language_model_with_concurrency(models):
    messages = [{"role": "user", "content": "hi"}, {"role": "user"}]
    made = await asyncio.gather(*(models.output("async", messages=messages) for _ in range(8)))
    assert made == [["hi", ""]] * 8


async def test_the_shape_of_a_model_of_the_generation_of_cog_0_14(models):
    config = await _upload(models, "config.txt", "+config")
    done = await models("legacy", audio=data_uri("sound", "audio/wav"), config=config, token=SECRET, temperature=1)
    assert done["output"] == {
        "language": None,
        "text": "sound+config",
        "segments": [{"text": "sound+config", "start": 1.0}],
        "subtitles": None,
    }


async def test_the_shape_of_a_model_of_the_newest_generation(models):
    chunks = await models.output("runner", size="large", value=3, options={"any": [1]}, seed=None)
    assert chunks == [{"size": "large", "tags": ["a"]}, {"seed": None, "value": 3.0, "options": {"any": [1]}}]


REFUSED: Final = {
    "no type": ("def predict(text) -> str: return text", "its type annotation is missing"),
    "tuple": ("def predict(x: tuple[int, int]) -> str: return ''", "not a type that inputs"),
    "concurrency": ("import cog\n@cog.concurrent(max=2)\ndef predict(x: str) -> str: return x", "async def"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_declaration_without_meaning_is_refused_at_push(command, tmp_path, case):
    source, reason = REFUSED[case]
    (tmp_path / "cog.yaml").write_text("predict: model.py:predict")
    (tmp_path / "model.py").write_text(source)
    done = await asyncio.to_thread(command, "push", "local/contract-refused", tmp_path)
    assert done.returncode != 0
    assert reason in done.stdout + done.stderr


async def _upload(models: Models, name: str, text: str) -> str:
    """The URL of a file of the files API."""
    form = aiohttp.FormData()
    form.add_field("content", text.encode(), filename=name, content_type="text/markdown")
    async with models.session.post("/v1/files", data=form) as response:
        assert response.status == 201, await response.text()
        return (await response.json())["urls"]["get"]


@asynccontextmanager
async def _served(path: str, text: str) -> AsyncIterator[str]:
    """The URL of a text on a server of this machine's."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.router.add_get("/{name:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}{path}"
    finally:
        await runner.cleanup()


async def test_files_of_the_models_own_are_defaults_of_its_inputs(models):
    assert await models.output("default_file") == ["example", "a", "b"]
    assert await models.output("default_file", text=data_uri("mine")) == ["mine", "a", "b"]
    assert await models.output("default_file", text=None, more=[data_uri("c")]) == ["example", "c"]
    properties = (await models.schema("default_file"))["Input"]["properties"]
    assert not [name for name, each in properties.items() if "default" in each]

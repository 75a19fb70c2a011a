"""The MCP server's tools against a fake API."""

import contextlib
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client

from tidemill.cli.mcp import tools as mcp_tools
from tidemill.cli.mcp.server import bearer_token, make_server
from tidemill.cli.mcp.tools import ToolRefused, describe_model, summarize_prediction

MODEL = {
    "owner": "tidemill",
    "name": "noop",
    "description": "Says it back",
    "run_count": 7,
    "latest_version": {
        "id": "a" * 64,
        "openapi_schema": {
            "components": {
                "schemas": {
                    "Input": {
                        "required": ["text"],
                        "properties": {
                            "mode": {"allOf": [{"$ref": "#/components/schemas/mode"}], "default": "a", "x-order": 1},
                            "text": {"type": "string", "description": "What to say", "x-order": 0, "title": "Text"},
                        },
                    },
                    "mode": {"type": "string", "enum": ["a", "b"]},
                    "Output": {"type": "string"},
                }
            }
        },
    },
    "default_example": {"input": {"text": "x"}, "output": "x", "logs": "…"},
}


def prediction(status="succeeded", **rest):
    base = {"id": "p1", "model": "tidemill/noop", "version": "a" * 64, "status": status, "output": None, "error": None}
    return {**base, "logs": "", "input": {"text": "secret"}, **rest}


class PlayedApi:
    """Answers from a list per path, repeating the last answer; keeps the requests."""

    def __init__(self, **answers):
        self.answers = {name: list(given) for name, given in answers.items()}
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        name = f"{request.method} {request.url.path.removeprefix('/v1/')}"
        if name not in self.answers:
            return httpx.Response(404, json={"detail": "The requested resource could not be found.", "status": 404})
        left = self.answers[name]
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(status, json=body)


@contextlib.asynccontextmanager
async def agent_of(api):
    """The SDK's own client, connected to the server in one process."""
    transport = httpx.MockTransport(api)
    async with (
        httpx.AsyncClient(base_url="http://api/v1/", transport=transport) as http,
        Client(make_server(http, "t0ken")) as agent,
    ):
        yield agent


async def call(api, tool, arguments):
    async with agent_of(api) as agent:
        return await agent.call_tool(tool, arguments)


def content(result):
    assert not result.is_error, result.content
    return result.structured_content


async def test_it_offers_its_tools_with_schemas():
    async with agent_of(PlayedApi()) as agent:
        tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
    assert set(tools) == {"search", "describe", "run", "wait", "get", "cancel"}
    assert tools["run"].input_schema["required"] == ["model", "input"]
    assert "context" not in tools["run"].input_schema["properties"]
    assert tools["get"].annotations.read_only_hint is True
    assert all(tool.description for tool in tools.values())


async def test_search_answers_a_line_for_each_model():
    found = {"query": "say", "models": [{"model": MODEL, "metadata": {}}], "collections": [], "pages": []}
    api = PlayedApi(**{"GET search": [(200, found)]})
    result = content(await call(api, "search", {"query": "say", "limit": 3}))
    assert result == {"result": [{"model": "tidemill/noop", "description": "Says it back", "run_count": 7}]}
    assert dict(api.requests[0].url.params) == {"query": "say", "limit": "3"}
    assert api.requests[0].headers["Authorization"] == "Bearer t0ken"


async def test_describe_writes_out_inputs_in_the_authors_order():
    result = content(
        await call(PlayedApi(**{"GET models/tidemill/noop": [(200, MODEL)]}), "describe", {"model": "tidemill/noop"})
    )
    assert list(result["inputs"]) == ["text", "mode"]
    assert result["inputs"]["text"] == {"type": "string", "description": "What to say", "required": True}
    assert result["inputs"]["mode"] == {"default": "a", "type": "string", "enum": ["a", "b"], "required": False}
    assert result["example"] == {"input": {"text": "x"}, "output": "x"}


async def test_run_waits_in_the_create_and_then_by_polling(monkeypatch):
    monkeypatch.setattr(mcp_tools, "POLL_S", 0)
    waiting = prediction("starting", queue_position=2, waiting_for="queue")
    api = PlayedApi(
        **{
            "POST models/tidemill/noop/predictions": [(201, waiting)],
            "GET predictions/p1": [(200, prediction("processing")), (200, prediction(output="done"))],
        }
    )
    told = []

    async def hear(progress, total, message):
        told.append(message)

    async with agent_of(api) as agent:
        arguments = {"model": "tidemill/noop", "input": {"text": "x"}, "wait_s": 30}
        result = content(await agent.call_tool("run", arguments, progress_callback=hear))
    assert (result["status"], result["output"]) == ("succeeded", "done")
    assert "input" not in result
    assert api.requests[0].headers["Prefer"] == "wait=30"
    assert json.loads(api.requests[0].content) == {"input": {"text": "x"}}
    assert told == ["starting, position 2, waits for queue", "processing"]


async def test_run_with_a_version_names_it():
    api = PlayedApi(**{"POST predictions": [(201, prediction(output=1))]})
    model = f"tidemill/noop:{'a' * 64}"
    assert content(await call(api, "run", {"model": model, "input": {}, "wait_s": 0}))["output"] == 1
    assert json.loads(api.requests[0].content) == {"input": {}, "version": model}
    assert "Prefer" not in api.requests[0].headers


async def test_an_unfinished_prediction_names_the_next_step():
    api = PlayedApi(**{"GET predictions/p1": [(200, prediction("processing"))]})
    result = content(await call(api, "wait", {"prediction_id": "p1", "timeout_s": 0}))
    assert result["status"] == "processing"
    assert "`wait`" in result["next_step"]


async def test_cancel_and_get():
    api = PlayedApi(
        **{
            "POST predictions/p1/cancel": [(200, prediction("canceled"))],
            "GET predictions/p1": [(200, prediction("failed", error="broken", logs="x" * 9000))],
        }
    )
    assert content(await call(api, "cancel", {"prediction_id": "p1"}))["status"] == "canceled"
    result = content(await call(api, "get", {"prediction_id": "p1"}))
    assert (result["error"], len(result["logs"])) == ("broken", mcp_tools.LOGS_SHOWN_CHARS)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get", {"prediction_id": "nothing"}),
        ("get", {"prediction_id": "../account"}),
        ("cancel", {"prediction_id": "p1/../../account"}),
        ("describe", {"model": "noop"}),
        ("describe", {"model": "../account"}),
        ("run", {"model": "a/b/c", "input": {}}),
    ],
)
async def test_refusals_are_errors_that_the_agent_can_read(tool, arguments):
    api = PlayedApi()
    result = await call(api, tool, arguments)
    assert result.is_error
    assert not [request for request in api.requests if "account" in request.url.path]


async def test_an_unreachable_api_is_a_tool_error():
    def refuse(request):
        raise httpx.ConnectError("no")

    result = await call(refuse, "get", {"prediction_id": "p1"})
    assert result.is_error
    assert "cannot be reached" in result.content[0].text


def test_tokens_come_as_bearer_or_token():
    assert bearer_token("Bearer abc") == bearer_token("token  abc ") == "abc"
    for wrong in (None, "", "Bearer", "Basic abc"):
        with pytest.raises(ToolRefused):
            bearer_token(wrong)


@given(st.text(max_size=40))
def test_ids_and_models_cannot_change_the_path(text):
    for check in (mcp_tools._checked_id, mcp_tools._model_path):
        try:
            path = check(text)
        except ToolRefused:
            continue
        assert not set(path) & set("?#%\\ ")
        assert ".." not in path.split("/")
        assert path.count("/") == (0 if check is mcp_tools._checked_id else 1)


def test_a_model_without_a_version_can_be_described():
    bare = {**MODEL, "latest_version": None, "default_example": None, "description": None}
    assert describe_model(bare) == {
        "model": "tidemill/noop",
        "description": "",
        "run_count": 7,
        "inputs": {},
        "output": {},
    }


def test_null_members_are_left_out():
    assert summarize_prediction(prediction("succeeded", output=0)) == {
        "id": "p1",
        "model": "tidemill/noop",
        "version": "a" * 64,
        "status": "succeeded",
        "output": 0,
    }

"""The MCP server as agents use it: the SDK's own client, over stdio and over HTTP, against the whole system."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

PROGRAM = str(Path(sys.executable).with_name("tidemill"))
READ_WITHIN_S = 300


def answer(result):
    assert not result.is_error, result.content
    return result.structured_content


def environment(stack, token=None):
    return {
        "PATH": os.environ["PATH"],
        "REPLICATE_BASE_URL": stack.base_url,
        **({"REPLICATE_API_TOKEN": token} if token else {}),
    }


@contextlib.asynccontextmanager
async def over_stdio(stack, token):
    parameters = StdioServerParameters(command=PROGRAM, args=["mcp"], env=environment(stack, token))
    async with Client(stdio_client(parameters)) as agent:
        yield agent


@pytest.fixture(scope="module")
def url(stack):
    """A server for HTTP, which has no token of its own."""
    process = subprocess.Popen(
        [PROGRAM, "mcp", "--http", "0"], env=environment(stack), stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stderr.readline()
        yield re.search(r"http://\S+", line)[0]
    finally:
        process.terminate()
        process.wait(READ_WITHIN_S)
        process.stderr.close()


@contextlib.asynccontextmanager
async def over_http(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=READ_WITHIN_S) as http,
        Client(streamable_http_client(url, http_client=http)) as agent,
    ):
        yield agent


async def test_an_agent_describes_and_runs_a_model_over_stdio(stack):
    async with over_stdio(stack, stack.token) as agent:
        assert {"search", "run", "wait", "cancel"} <= {tool.name for tool in (await agent.list_tools()).tools}
        described = answer(await agent.call_tool("describe", {"model": "local/e2e_text"}))
        assert described["inputs"]["text"] == {
            "type": "string",
            "description": "Sent back in brackets",
            "required": True,
        }
        given = {"model": "local/e2e_text", "input": {"text": "agent"}}
        assert answer(await agent.call_tool("run", given))["output"] == "[agent]"
        refused = await agent.call_tool("run", {**given, "input": {"text": "agent", "times": 99}})
        assert refused.is_error
        assert "times" in refused.content[0].text


async def test_an_agent_starts_waits_for_and_cancels_a_prediction_over_http(stack, url):
    async with over_http(url, stack.token) as agent:
        given = {"model": "local/e2e_sleep", "input": {"seconds": 600}, "wait_s": 0}
        started = answer(await agent.call_tool("run", given))
        assert started["status"] in {"starting", "processing"}
        which = {"prediction_id": started["id"]}
        assert answer(await agent.call_tool("wait", {**which, "timeout_s": 0}))["status"] in {"starting", "processing"}
        assert answer(await agent.call_tool("cancel", which))["status"] == "canceled"
        assert answer(await agent.call_tool("get", which))["status"] == "canceled"
        assert answer(await agent.call_tool("wait", which))["status"] == "canceled"


async def test_an_agent_finds_models_that_show_an_example(stack, url):
    async with stack.session() as http, over_http(url, stack.token) as agent:
        made = answer(await agent.call_tool("run", {"model": "local/e2e_text", "input": {"text": "shown"}}))
        async with http.post("/v1/models/local/e2e_text/examples", json={"prediction": made["id"]}) as response:
            assert response.ok, await response.text()
        found = answer(await agent.call_tool("search", {"query": "e2e_text"}))
        assert "local/e2e_text" in {each["model"] for each in found["result"]}
        described = answer(await agent.call_tool("describe", {"model": "local/e2e_text"}))
        assert described["example"] == {"input": {"text": "shown"}, "output": "[shown]"}
        assert answer(await agent.call_tool("search", {"query": "nothing like this"}))["result"] == []


async def test_each_request_acts_with_its_own_token(stack, url, new_token):
    async with over_http(url, stack.token) as agent:
        made = answer(await agent.call_tool("run", {"model": "local/e2e_text", "input": {"text": "mine"}}))
    async with over_http(url, new_token("another-agent")) as other:
        refused = await other.call_tool("get", {"prediction_id": made["id"]})
        assert refused.is_error
        assert "404" in refused.content[0].text
    async with over_http(url, "t1_unknown") as nobody:
        refused = await nobody.call_tool("get", {"prediction_id": made["id"]})
        assert refused.is_error
        assert "401" in refused.content[0].text


async def test_a_request_without_a_token_is_refused_at_the_door(url):
    async with httpx2.AsyncClient() as http:
        response = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_stdio_without_a_token_says_what_is_missing(stack):
    done = subprocess.run(
        [PROGRAM, "mcp"], env=environment(stack), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 1
    assert "REPLICATE_API_TOKEN" in done.stderr

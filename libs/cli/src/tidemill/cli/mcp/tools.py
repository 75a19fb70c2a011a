"""The tools of the MCP server. Each is one or two calls of the HTTP API with the caller's token.

Results hold only what an agent needs: schemas and logs are long, and an agent's context is limited.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx

Json = dict[str, Any]
Progress = Callable[[str], Awaitable[None]]

OPEN: Final = frozenset({"starting", "processing"})
TIMEOUT: Final = httpx.Timeout(65.0, connect=5.0)  # a create with `Prefer: wait` is answered within 60 s
BLOCK_LIMIT_S: Final = 55.0  # the API's limit is 60 s; 5 s are left for the network
WAIT_LIMIT_S: Final = 600.0  # agents' own timeouts are seldom longer; they can call `wait` again
POLL_S: Final = 1.0
SEARCH_LIMIT: Final = 20
LOGS_SHOWN_CHARS: Final = 2000  # from the end of the logs, where errors are
SHOWN: Final = (
    "id",
    "model",
    "version",
    "status",
    "output",
    "error",
    "error_code",
    "metrics",
    "queue_position",
    "waiting_for",
    "created_at",
    "started_at",
    "completed_at",
)


class ToolRefused(Exception):  # noqa: N818 - a refusal, not an error of this program
    """The API or a check refused the call; the message is for the agent."""


class AgentTools:
    """The tools for one caller. `token` is the caller's, and the only credential that requests carry."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}

    async def search(self, query: str, limit: int) -> list[Json]:
        found = await self._call("GET", "search", params={"query": query, "limit": min(max(limit, 1), SEARCH_LIMIT)})
        return [summarize_model(each["model"]) for each in found["models"]]

    async def describe(self, model: str) -> Json:
        return describe_model(await self._call("GET", f"models/{_model_path(model)}"))

    async def run(self, model: str, values: Mapping[str, Any], wait_s: float, progress: Progress) -> Json:
        """Create a prediction, wait for at most `wait_s`, and return its state."""
        deadline = time.monotonic() + min(wait_s, WAIT_LIMIT_S)
        version = model.partition(":")[2]
        path = "predictions" if version else f"models/{_model_path(model)}/predictions"
        body = {"input": dict(values), **({"version": model} if version else {})}
        block_s = int(min(wait_s, BLOCK_LIMIT_S))
        headers = {"Prefer": f"wait={block_s}"} if block_s >= 1 else {}
        made = await self._call("POST", path, json=body, headers=headers)
        return await self._follow(made, deadline, progress)

    async def wait(self, prediction_id: str, timeout_s: float, progress: Progress) -> Json:
        deadline = time.monotonic() + min(timeout_s, WAIT_LIMIT_S)
        return await self._follow(await self._prediction(prediction_id), deadline, progress)

    async def get(self, prediction_id: str) -> Json:
        return summarize_prediction(await self._prediction(prediction_id))

    async def cancel(self, prediction_id: str) -> Json:
        return summarize_prediction(await self._call("POST", f"predictions/{_checked_id(prediction_id)}/cancel"))

    async def _follow(self, prediction: Json, deadline: float, progress: Progress) -> Json:
        reported = ""
        while prediction["status"] in OPEN and time.monotonic() < deadline:
            state = _state(prediction)
            if state != reported:
                reported = state
                await progress(state)
            await asyncio.sleep(POLL_S)
            prediction = await self._prediction(prediction["id"])
        return summarize_prediction(prediction)

    async def _prediction(self, prediction_id: str) -> Json:
        found: Json = await self._call("GET", f"predictions/{_checked_id(prediction_id)}")
        return found

    async def _call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **rest: Any) -> Any:
        try:
            response = await self._http.request(method, path, headers={**self._headers, **(headers or {})}, **rest)
        except httpx.TransportError as error:
            raise ToolRefused(f"Tidemill cannot be reached: {type(error).__name__}") from None
        if response.is_success:
            return response.json()
        raise ToolRefused(f"{response.status_code}: {_detail(response)}")


def _detail(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    return str(detail or response.reason_phrase).strip()


def _checked_id(text: str) -> str:
    """Return the id if it is safe as a segment of a URL path. Raise ToolRefused otherwise."""
    if not text or not text.replace("-", "").replace("_", "").isalnum():
        raise ToolRefused(f"{text[:80]!r} is no id")
    return text


def _model_path(model: str) -> str:
    owner, slash, name = model.partition(":")[0].partition("/")
    parts = [part.replace(".", "") for part in (owner, name)]
    if not slash or not all(parts):
        raise ToolRefused(f"{model[:80]!r} is not of the form owner/name or owner/name:version")
    for part in parts:
        _checked_id(part)
    return f"{owner}/{name}"


def _state(prediction: Json) -> str:
    position = prediction.get("queue_position")
    reason = prediction.get("waiting_for")
    more = [f"position {position}" if position is not None else "", f"waits for {reason}" if reason else ""]
    return ", ".join([prediction["status"], *filter(None, more)])


def summarize_prediction(prediction: Json) -> Json:
    """Return a prediction without its input, and with only the end of its logs."""
    out = {key: prediction[key] for key in SHOWN if prediction.get(key) is not None}
    logs = prediction.get("logs") or ""
    if logs:
        out["logs"] = logs[-LOGS_SHOWN_CHARS:]
    if prediction["status"] in OPEN:
        out["next_step"] = "It has not ended: call `wait` with this id, or `cancel`."
    return out


def summarize_model(model: Json) -> Json:
    return {
        "model": f"{model['owner']}/{model['name']}",
        "description": model["description"] or "",
        "run_count": model["run_count"],
    }


def describe_model(model: Json) -> Json:
    """Return what an agent must know to run a model: its inputs, its output and an example."""
    version = model.get("latest_version")
    schemas = ((version or {}).get("openapi_schema") or {}).get("components", {}).get("schemas", {})
    example = model.get("default_example")
    out = {**summarize_model(model), "inputs": describe_inputs(schemas), "output": schemas.get("Output", {})}
    if version:
        out["version"] = version["id"]
    if example:
        out["example"] = {"input": example["input"], "output": example["output"]}
    return out


def describe_inputs(schemas: Json) -> Json:
    """Return the inputs by name in the author's order, with references to choices resolved."""
    schema = schemas.get("Input", {})
    required = frozenset(schema.get("required", ()))
    ordered = sorted(schema.get("properties", {}).items(), key=lambda item: item[1].get("x-order", 0))
    return {name: {**_input(its, schemas), "required": name in required} for name, its in ordered}


def _input(its: Json, schemas: Json) -> Json:
    kept = ("type", "description", "default", "minimum", "maximum", "format", "enum", "items")
    out = {key: its[key] for key in kept if key in its}
    for reference in its.get("allOf", ()):
        choices = schemas.get(str(reference.get("$ref", "")).rpartition("/")[2], {})
        out |= {key: choices[key] for key in ("type", "enum") if key in choices}
    return out

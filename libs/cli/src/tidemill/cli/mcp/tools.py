"""What agents can do through the MCP server: each tool is a call or two of the HTTP API, with the caller's token.

Answers are cut to what an agent needs: schemas and logs are long, and its context is not.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx

Json = dict[str, Any]
Progress = Callable[[str], Awaitable[None]]

OPEN: Final = frozenset({"starting", "processing"})
TIMEOUT: Final = httpx.Timeout(65.0, connect=5.0)  # a waiting create is answered within 60 s
BLOCK_LIMIT_S: Final = 55.0  # the server's own limit is 60 s; the rest is for the way
WAIT_LIMIT_S: Final = 600.0  # agents' own calls seldom live longer; they can wait again
POLL_S: Final = 1.0
SEARCH_LIMIT: Final = 20
LOGS_SHOWN_CHARS: Final = 2000  # of the end, where errors stand
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


class Refused(Exception):  # noqa: N818 - it is no fault of the program's
    """What the API said no to, for the agent to read."""


class Tools:
    """The tools' work. `token` is the caller's; every call of the API carries it and nothing else."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}

    async def search(self, query: str, limit: int) -> list[Json]:
        found = await self._call("GET", "search", params={"query": query, "limit": min(max(limit, 1), SEARCH_LIMIT)})
        return [summary(each["model"]) for each in found["models"]]

    async def describe(self, model: str) -> Json:
        return description(await self._call("GET", f"models/{_path(model)}"))

    async def run(self, model: str, values: Mapping[str, Any], wait_s: float, progress: Progress) -> Json:
        """Creates a prediction and stays with it for `wait_s` at most; then answers it as it is."""
        deadline = time.monotonic() + min(wait_s, WAIT_LIMIT_S)
        version = model.partition(":")[2]
        path = "predictions" if version else f"models/{_path(model)}/predictions"
        body = {"input": dict(values), **({"version": model} if version else {})}
        block_s = int(min(wait_s, BLOCK_LIMIT_S))
        headers = {"Prefer": f"wait={block_s}"} if block_s >= 1 else {}
        made = await self._call("POST", path, json=body, headers=headers)
        return await self._follow(made, deadline, progress)

    async def wait(self, prediction_id: str, timeout_s: float, progress: Progress) -> Json:
        deadline = time.monotonic() + min(timeout_s, WAIT_LIMIT_S)
        return await self._follow(await self._prediction(prediction_id), deadline, progress)

    async def get(self, prediction_id: str) -> Json:
        return shown(await self._prediction(prediction_id))

    async def cancel(self, prediction_id: str) -> Json:
        return shown(await self._call("POST", f"predictions/{_segment(prediction_id)}/cancel"))

    async def _follow(self, prediction: Json, deadline: float, progress: Progress) -> Json:
        told = ""
        while prediction["status"] in OPEN and time.monotonic() < deadline:
            state = _state(prediction)
            if state != told:
                told = state
                await progress(state)
            await asyncio.sleep(POLL_S)
            prediction = await self._prediction(prediction["id"])
        return shown(prediction)

    async def _prediction(self, prediction_id: str) -> Json:
        found: Json = await self._call("GET", f"predictions/{_segment(prediction_id)}")
        return found

    async def _call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **rest: Any) -> Any:
        try:
            response = await self._http.request(method, path, headers={**self._headers, **(headers or {})}, **rest)
        except httpx.TransportError as error:
            raise Refused(f"Tidemill cannot be reached: {type(error).__name__}") from None
        if response.is_success:
            return response.json()
        raise Refused(f"{response.status_code}: {_detail(response)}")


def _detail(response: httpx.Response) -> str:
    try:
        detail = response.json().get("detail")
    except (ValueError, AttributeError):
        detail = None
    return str(detail or response.reason_phrase).strip()


def _segment(text: str) -> str:
    """An id as a part of a path: what is none must not become another path."""
    if not text or not text.replace("-", "").replace("_", "").isalnum():
        raise Refused(f"{text[:80]!r} is no id")
    return text


def _path(model: str) -> str:
    owner, slash, name = model.partition(":")[0].partition("/")
    parts = [part.replace(".", "") for part in (owner, name)]
    if not slash or not all(parts):
        raise Refused(f"{model[:80]!r} is not of the form owner/name or owner/name:version")
    for part in parts:
        _segment(part)
    return f"{owner}/{name}"


def _state(prediction: Json) -> str:
    position = prediction.get("queue_position")
    reason = prediction.get("waiting_for")
    more = [f"position {position}" if position is not None else "", f"waits for {reason}" if reason else ""]
    return ", ".join([prediction["status"], *filter(None, more)])


def shown(prediction: Json) -> Json:
    """A prediction without its input, and with the end of its logs only."""
    out = {key: prediction[key] for key in SHOWN if prediction.get(key) is not None}
    logs = prediction.get("logs") or ""
    if logs:
        out["logs"] = logs[-LOGS_SHOWN_CHARS:]
    if prediction["status"] in OPEN:
        out["next_step"] = "It has not ended: call `wait` with this id, or `cancel`."
    return out


def summary(model: Json) -> Json:
    return {
        "model": f"{model['owner']}/{model['name']}",
        "description": model["description"] or "",
        "run_count": model["run_count"],
    }


def description(model: Json) -> Json:
    """What an agent must know to run a model: its inputs one by one, what comes out, and an example."""
    version = model.get("latest_version")
    schemas = ((version or {}).get("openapi_schema") or {}).get("components", {}).get("schemas", {})
    example = model.get("default_example")
    out = {**summary(model), "inputs": inputs(schemas), "output": schemas.get("Output", {})}
    if version:
        out["version"] = version["id"]
    if example:
        out["example"] = {"input": example["input"], "output": example["output"]}
    return out


def inputs(schemas: Json) -> Json:
    """The inputs by name, in the author's order, choices written out."""
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

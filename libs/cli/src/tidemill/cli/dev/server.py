"""The HTTP server of `tidemill dev`: the API's predictions for one model, without accounts.

It listens on this machine only. A page in the author's browser is untrusted: requests that a page can send without a
preflight (anything but JSON) are refused, and no request can make the server read a file of this machine.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import typer
from aiohttp import web

from tidemill.cli.dev.predictions import DevPrediction, DevPredictions, format_now
from tidemill.cli.dev.reloader import ModelReloader
from tidemill.cli.errors import CommandError
from tidemill.cli.local import input_files
from tidemill.contracts.ids import new_id
from tidemill.hosting.files.output_names import safe_name
from tidemill.hosting.local.frame_handler import PredictionResult

WAIT_LIMIT_S: Final = 60.0  # the API's own limit
BODY_LIMIT_BYTES: Final = 64 * 1024 * 1024  # inputs may hold files as data: URLs
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DevServer:
    """`folder` receives output files and uploads. `name` is the model's name in responses."""

    def __init__(self, loader: ModelReloader, folder: Path, name: str, base: str) -> None:
        self._loader = loader
        self._folder = folder
        self._name = name
        self._base = base
        self._records = DevPredictions()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_problems, self._check_host])
        for prefix in ("", "/v1"):
            app.router.add_post(f"{prefix}/predictions", self._create)
            app.router.add_post(f"{prefix}/models/{{owner}}/{{name}}/predictions", self._create)
            app.router.add_get(f"{prefix}/predictions", self._list)
            app.router.add_get(f"{prefix}/predictions/{{id}}", self._get)
            app.router.add_post(f"{prefix}/predictions/{{id}}/cancel", self._cancel)
            app.router.add_get(f"{prefix}/predictions/{{id}}/stream", self._stream)
            app.router.add_post(f"{prefix}/files", self._upload)
        app.router.add_get("/openapi.json", self._schema)
        app.router.add_static("/outputs", self._folder)
        app.on_shutdown.append(self._stop)
        return app

    @web.middleware
    async def _check_host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse other Host headers. They come from a page whose DNS name was rebound to this machine."""
        if request.host.partition(":")[0] not in {urlsplit(self._base).hostname, "localhost"}:
            raise _HttpProblem(403, f"This server is {self._base}.")
        return await handler(request)

    async def _create(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            raise _HttpProblem(415, "Send JSON, with Content-Type: application/json.")
        try:
            body = await request.json()
        except ValueError:
            raise _HttpProblem(400, "The body is no JSON.") from None
        value = body.get("input", {}) if isinstance(body, dict) else None
        if not isinstance(value, dict):
            raise _HttpProblem(422, 'The body is not of the form {"input": {…}}.')
        await self._current_model()
        record = DevPrediction(self._base, self._folder, self._name, value)
        self._records.add(record)
        record.task = asyncio.create_task(self._run(record), name=f"prediction {record.id}")
        await _wait(record, request.headers.getall("Prefer", []))
        return web.json_response(record.document(), status=201)

    async def _current_model(self) -> Any:
        try:
            return await self._loader.model()
        except CommandError as error:
            raise _HttpProblem(503, str(error)) from None

    async def _run(self, record: DevPrediction) -> None:
        try:
            record.finish(await self._run_model(record))
        except asyncio.CancelledError:
            record.finish(PredictionResult(status="canceled", output=record.output))
        taken = record.metrics.get("predict_time")
        typer.echo(f"{record.id} {record.status}{'' if taken is None else f' {taken:.3f} s'}", err=True)
        if record.error:
            typer.echo(record.error, err=True)

    async def _run_model(self, record: DevPrediction) -> PredictionResult:
        try:
            async with self._loader as (model, slots), slots:
                folder = await asyncio.to_thread(model.input_folder)
                value = await input_files.fetch(record.input, model.schema, folder, allow_file_urls=False)
                record.start()
                return await model.run(record.id, value, record)
        except CommandError as error:
            return PredictionResult(status="failed", error=str(error))

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"previous": None, "next": None, "results": self._records.newest()})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(request).document())

    async def _cancel(self, request: web.Request) -> web.Response:
        record = self._find(request)
        if record.task is not None and not record.ended.is_set():
            record.task.cancel()
            await record.ended.wait()
        return web.json_response(record.document())

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        record = self._find(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        last = request.headers.get("Last-Event-ID", "")
        number, ended = int(last) + 1 if last.isdecimal() else 0, False
        while not ended:
            events, ended = await record.read_stream(number)
            number += len(events)
            await response.write(b"".join(events))
        return response

    async def _upload(self, request: web.Request) -> web.Response:
        """Store an uploaded file: the part `content` of a form."""
        if "Authorization" not in request.headers:  # any value: a page cannot set it without a preflight
            raise _HttpProblem(401, "Send an Authorization header, with any token.")
        part = (await request.post()).get("content")
        if not isinstance(part, web.FileField):
            raise _HttpProblem(400, "The form has no file `content`.")
        name, content, identifier = safe_name(part.filename), await asyncio.to_thread(part.file.read), new_id()
        path = self._folder / identifier / name
        await asyncio.to_thread(_write, path, content)
        document = {
            "id": identifier,
            "name": name,
            "content_type": part.content_type,
            "size": len(content),
            "etag": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "checksums": {"sha256": hashlib.sha256(content).hexdigest()},
            "metadata": {},
            "created_at": format_now(),
            "expires_at": None,
            "urls": {"get": f"{self._base}/outputs/{identifier}/{name}"},
        }
        return web.json_response(document, status=201)

    async def _schema(self, _: web.Request) -> web.Response:
        return web.json_response((await self._current_model()).schema)

    def _find(self, request: web.Request) -> DevPrediction:
        record = self._records.get(request.match_info["id"])
        if record is None:
            raise _HttpProblem(404, "There is no such prediction.")
        return record

    async def _stop(self, _: web.Application) -> None:
        """Cancel running predictions; their streams end with them."""
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("prediction ")]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)


async def _wait(record: DevPrediction, preferences: list[str]) -> None:
    """Obey `Prefer: wait` or `wait=n`: return when the prediction has ended or the time is over."""
    for preference in (each.strip() for line in preferences for each in line.split(",")):
        name, _, number = preference.partition("=")
        if name.lower() == "wait":
            seconds = float(number) if number.isdecimal() else WAIT_LIMIT_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(seconds, 1.0), WAIT_LIMIT_S)):
                    await record.ended.wait()


class _HttpProblem(Exception):  # noqa: N818 - named after the response
    """An error response, as application/problem+json."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except _HttpProblem as problem:
        body = {"status": problem.status, "title": "Not possible", "detail": str(problem)}
        return web.json_response(body, status=problem.status, content_type="application/problem+json")

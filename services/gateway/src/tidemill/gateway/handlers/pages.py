"""Two plain HTML pages for browsers that follow a link of the API without the website: the start, and a prediction.

Programs get JSON from the same paths: a 404, and the prediction. The pages contain no scripts; text of models and
users is escaped.
"""

from html import escape
from typing import Any, Final

import msgspec
from aiohttp import web

from tidemill.contracts.access import Scope
from tidemill.contracts.api.predictions import Prediction
from tidemill.contracts.errors import Problem, not_found
from tidemill.gateway.call import Call, operation
from tidemill.gateway.handlers import predictions
from tidemill.gateway.handlers.docs import HTML, wants_html
from tidemill.gateway.handlers.predictions import PredictionParts
from tidemill.gateway.reference.documentation import POLICY, html_page
from tidemill.security.delivery_urls import PATH

TEXT_LIMIT_CHARS: Final = 20_000  # of one text on a page; the JSON has the whole text
PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif")
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}


@operation("pages.start", headers=("Accept",), response=HTML)
async def start(call: Call[PredictionParts]) -> web.Response:
    """Say what this is and where its documentation lies. Raises the 404 problem for programs."""
    base = call.api_url
    if not wants_html(call):
        raise not_found()
    return _html(
        "Machine-learning models behind an HTTP API",
        f"<p>This address answers Replicate\u2019s API, for programs: its base URL is <code>{escape(base)}</code>.</p>"
        f'<p><a href="{escape(base)}/docs">Documentation</a> \u00b7 '
        f'<a href="{escape(base)}/openapi.json">OpenAPI document</a></p>',
    )


@operation("pages.prediction", Scope.PREDICTIONS_READ, headers=("Accept",), response=(Prediction, HTML), anonymous=True)
async def prediction(call: Call[PredictionParts]) -> web.StreamResponse:
    """Show a prediction, to browsers as a page; this is its `urls.web`.

    For programs it is `GET /predictions/{id}`. Without a token only what is shared, or an example of a public model,
    can be seen.
    """
    if not wants_html(call):
        return await predictions.get.handler(call)
    try:
        shown = await predictions.read_visible(call)
    except Problem as problem:
        told = "<p>There is no such prediction, or it is not shared. Its owner reads it with a token: " + _code(
            f"GET {call.api_url}/predictions/{call.path('id')}"
        )
        return _html("Nothing to see", f"{told}</p>", problem)
    return _html(shown.model, _body(call, shown))


def _body(call: Call[PredictionParts], shown: Prediction) -> str:
    output = msgspec.json.decode(bytes(shown.output))
    parts = [
        f"<p>{escape(shown.status)} \u00b7 {escape(shown.created_at)} \u00b7 {_code(shown.id)}</p>",
        f"<h2>Input</h2>{_text(_pretty(bytes(shown.input)))}",
        "<h2>Output</h2>",
        _output(output, f"{call.public_url}{PATH}"),
    ]
    if shown.error:
        parts.append(f"<h2>Error</h2>{_text(shown.error)}")
    return "\n".join(parts)


def _output(value: Any, files: str) -> str:
    """Return HTML: files as pictures or links, texts as text, other values as JSON."""
    if isinstance(value, str):
        return _file(value) if value.startswith(files) else _text(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        if not any(item.startswith(files) for item in value):
            return _text("".join(value))
        return "\n".join(_output(item, files) for item in value)
    return _text(_pretty(msgspec.json.encode(value)))


def _file(url: str) -> str:
    name, target = escape(url.rpartition("/")[2]), escape(url)
    what = f'<img src="{target}" alt="{name}">' if url.lower().endswith(PICTURES) else name
    return f'<p><a href="{target}">{what}</a></p>'


def _pretty(text: bytes) -> str:
    return msgspec.json.format(text).decode()


def _text(text: str) -> str:
    cut = " \u2026" if len(text) > TEXT_LIMIT_CHARS else ""
    return f"<pre>{escape(text[:TEXT_LIMIT_CHARS])}{cut}</pre>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _html(title: str, body: str, problem: Problem | None = None) -> web.Response:
    status, more = (200, {}) if problem is None else (problem.status, problem.headers)
    text = html_page(title, f"<h1>{escape(title)}</h1>\n{body}\n")
    return web.Response(text=text, status=status, content_type=HTML, charset="utf-8", headers={**HEADERS, **more})

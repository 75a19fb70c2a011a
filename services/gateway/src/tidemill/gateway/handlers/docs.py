"""The public documentation: Markdown for programs, HTML for browsers, and the OpenAPI document."""

from typing import Final

from aiohttp import web

from tidemill.contracts.errors import not_found
from tidemill.gateway.call import Call, operation
from tidemill.gateway.reference.documentation import DOCUMENTATION, POLICY, Documentation, render_page

MARKDOWN: Final = "text/markdown"
HTML: Final = "text/html"
PLAIN: Final = "text/plain"
JSON: Final = "application/json"
INDEX: Final = "llms.txt"
HEADERS: Final = {
    "Cache-Control": "public, max-age=300",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept",
}


@operation("docs.openapi", headers=("If-None-Match",), response=JSON, also_statuses=(304,))
async def openapi(call: Call[object]) -> web.Response:
    """Get the OpenAPI document. It describes every operation of this server, extensions too."""
    document = _library(call).openapi(call.api_url)
    response = web.Response(headers={"Cache-Control": "public, max-age=60", "X-Content-Type-Options": "nosniff"})
    response.etag = document.tag
    if any(tag.value in {document.tag, "*"} for tag in call.request.if_none_match or ()):
        response.set_status(304)
        return response
    response.content_type = JSON
    response.body = document.body
    return response


@operation("docs.index", headers=("Accept",), response=(MARKDOWN, HTML))
async def index(call: Call[object]) -> web.Response:
    """List the pages of the documentation."""
    text = _library(call).index(call.api_url)
    return _html(render_page(text)) if wants_html(call) else _text(text, MARKDOWN)


@operation("docs.page", headers=("Accept",), response=(MARKDOWN, HTML, PLAIN))
async def page(call: Call[object]) -> web.Response:
    """Get a page of the documentation. `llms.txt` is the list of them all as plain text."""
    name = call.path("page")
    if name == INDEX:
        return _text(_library(call).index(call.api_url), PLAIN)
    return _page_response(call, name)


@operation("docs.reference.page", headers=("Accept",), response=(MARKDOWN, HTML))
async def reference_page(call: Call[object]) -> web.Response:
    """Get a page of the reference. There is one for each kind of thing, such as `predictions`."""
    return _page_response(call, f"reference/{call.path('page')}")


def _page_response(call: Call[object], asked: str) -> web.Response:
    library, name = _library(call), asked.removesuffix(".md")
    if name not in library.pages:
        raise not_found()
    if name == asked and wants_html(call):
        return _html(library.html(name))
    return _text(library.pages[name], MARKDOWN)


def wants_html(call: Call[object]) -> bool:
    """Return whether the client is a browser: those name HTML. Programs that accept anything get Markdown."""
    accepted = call.request.headers.get("Accept", "")
    return HTML in accepted and MARKDOWN not in accepted


def _library(call: Call[object]) -> Documentation:
    return call.request.app[DOCUMENTATION]


def _text(text: str, kind: str) -> web.Response:
    return web.Response(text=text, content_type=kind, charset="utf-8", headers=HEADERS)


def _html(text: str) -> web.Response:
    headers = {**HEADERS, "Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"}
    return web.Response(text=text, content_type=HTML, charset="utf-8", headers=headers)

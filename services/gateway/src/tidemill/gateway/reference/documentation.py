"""The documentation as the gateway serves it: hand-written pages, the reference, and the OpenAPI document.

Hand-written pages are in the checkout's `docs`; this package's `docs` links to each, so that a wheel contains them.
"""

import hashlib
import re
from base64 import b64encode
from html import escape
from importlib.resources import files
from typing import Any, Final, NamedTuple

from aiohttp import web
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tidemill.gateway.call import encode
from tidemill.gateway.reference import resource_pages
from tidemill.gateway.reference.page_search import PageSearch

DOCUMENTS_LIMIT: Final = 16  # cached OpenAPI documents of 300 kB, one for each base URL; most installations have a few
DOCUMENTATION: Final[web.AppKey["Documentation"]] = web.AppKey("library")
HEADING: Final = re.compile(r"^# (.+)$", re.MULTILINE)
STYLE: Final = (
    "body{max-width:52rem;margin:2rem auto;padding:0 1rem;font:1rem/1.6 system-ui,sans-serif;color:#1b1f24}"
    "pre,code{font-family:ui-monospace,monospace;font-size:.9em;background:#f3f4f6;border-radius:.2rem}"
    "code{padding:.1em .3em}pre{padding:.8rem;overflow-x:auto}pre code{padding:0}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}"
    "td,th{border:1px solid #d0d7de;padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#15181c}pre,code{background:#23272e}"
    "td,th{border-color:#3a4048}a{color:#8ab4f8}}"
)
STYLE_DIGEST: Final = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# No scripts, and nothing is loaded from other sites.
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{STYLE_DIGEST}'; img-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


class EncodedDocument(NamedTuple):
    """A document as JSON, and its ETag."""

    body: bytes
    tag: str


class Documentation:
    """All pages by name (`predictions`, `reference/predictions`), each as Markdown and as HTML."""

    def __init__(self, document: dict[str, Any], written: dict[str, str]) -> None:
        self._document = document
        self._openapi: dict[str, EncodedDocument] = {}
        generated = {f"reference/{name}": page for name, page in resource_pages.pages(document).items()}
        self.pages = {**dict(sorted(written.items())), **generated}
        self._html: dict[str, str] = {}
        self.search = PageSearch(self.pages, {name: title_of(page) for name, page in self.pages.items()})

    def openapi(self, api_url: str) -> EncodedDocument:
        """Return the OpenAPI document with this base URL as its server."""
        known = self._openapi.get(api_url)
        if known is None:
            body = encode({**self._document, "servers": [{"url": api_url}]})
            known = EncodedDocument(body, hashlib.sha256(body).hexdigest()[:32])
            if len(self._openapi) >= DOCUMENTS_LIMIT:
                self._openapi.clear()
            self._openapi[api_url] = known
        return known

    def index(self, base_url: str) -> str:
        """Return a list of all pages in the form of llms.txt, for people and for programs that read Markdown."""
        lines = ["# Tidemill", "", "> Machine-learning models behind an HTTP API, on machines you own.", ""]
        for heading, generated in (("Topics", False), ("Reference", True)):
            lines += [f"## {heading}", ""]
            lines += [
                f"- [{title_of(page)}]({base_url}/docs/{name}.md)"
                for name, page in self.pages.items()
                if name.startswith("reference/") is generated
            ]
            lines.append("")
        lines += ["## Machine-readable", "", f"- [OpenAPI document]({base_url}/openapi.json)"]
        lines += [f"- [AsyncAPI document of the events on NATS]({base_url}/asyncapi.json)", ""]
        return "\n".join(lines)

    def html(self, name: str) -> str:
        """Return a page as HTML, rendered once. Raise KeyError when there is none of this name."""
        if name not in self._html:
            self._html[name] = render_page(self.pages[name])
        return self._html[name]


def written_pages() -> dict[str, str]:
    """Return the hand-written pages of this installation by name."""
    folder = files("tidemill.gateway") / "docs"
    if not folder.is_dir():
        return {}
    entries = [entry for entry in folder.iterdir() if entry.name.endswith(".md")]
    return {entry.name.removesuffix(".md"): entry.read_text(encoding="utf-8") for entry in entries}


def title_of(markdown: str) -> str:
    found = HEADING.search(markdown)
    return found[1] if found else "Tidemill"


def render_page(markdown: str) -> str:
    """Return Markdown as an HTML page. HTML inside the Markdown is escaped."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    text = markdown.removeprefix(resource_pages.NOTE).lstrip()
    tokens = parser.parse(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            token.attrSet("id", resource_pages.slug(following.content))
        for child in token.children or ():
            _link_to_page(child)
    body = parser.renderer.render(tokens, parser.options, {})
    return html_page(title_of(text), body)


def html_page(title: str, body: str) -> str:
    """Return a whole HTML page; `body` is HTML. Send it with POLICY as its content security policy."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Tidemill</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}</main></body></html>\n"
    )


def _link_to_page(token: Token) -> None:
    """Let a link to `x.md` point to the HTML page `x`."""
    target = token.attrGet("href") if token.type == "link_open" else None
    if isinstance(target, str):
        path, mark, fragment = target.partition("#")
        token.attrSet("href", f"{path.removesuffix('.md')}{mark}{fragment}")

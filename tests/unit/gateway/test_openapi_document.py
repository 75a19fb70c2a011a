"""The OpenAPI document: valid, complete, and true to the route table."""

import json
import re
from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from tidemill.contracts.access import Scope
from tidemill.gateway import docs_writer
from tidemill.gateway.call import BYTES, EVENTS, FORM, Route, operation
from tidemill.gateway.reference import openapi, resource_pages, texts
from tidemill.gateway.reference.documentation import Documentation, render_page, title_of, written_pages
from tidemill.gateway.triggers import EXTENSIONS, REPLICATE, ROUTES

DOCS = Path(__file__).parents[3] / "docs"
URL = "https://tide.example/v1"
WHOLE = openapi.document(REPLICATE, EXTENSIONS, URL)


class Thing(msgspec.Struct, kw_only=True):
    id: str
    note: str | None = None
    extra: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Asked(msgspec.Struct, kw_only=True):
    limit: int
    word: str | None = None


def made(handler, method="GET", path="/things/{id}", *, extension=False):
    routes = [Route(method, path, handler)]
    document = openapi.document(*([], routes) if extension else (routes, []), URL)
    key = openapi.METHOD_KEYS.get(method, method.lower())
    return document, document["paths"][path][key]


def test_it_is_a_valid_document_of_openapi_3_1():
    jsonschema_rs.validator_for(OPENAPI_31).validate(WHOLE)


def test_every_route_is_in_it_once_under_a_name_of_its_own():
    operations = list(resource_pages.operations(WHOLE))
    names = [each["operationId"] for _, _, each in operations]
    assert len(names) == len(set(names)) == len(ROUTES)
    assert {(method, path) for method, path, _ in operations} == {(route.method, route.path) for route in ROUTES}


def test_every_reference_points_to_something():
    for target in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(WHOLE)):
        node = WHOLE
        for step in target.split("/"):
            node = node[step]


def test_every_schema_is_one():
    for schema in WHOLE["components"]["schemas"].values():
        jsonschema_rs.validator_for({**schema, "components": WHOLE["components"]})


def test_every_declared_header_has_words():
    for route in ROUTES:
        assert set(route.operation.headers) <= set(texts.HEADERS), route.operation.name


def test_every_declared_status_has_words():
    for route in ROUTES:
        declared = {route.operation.status, *route.operation.also_statuses, *route.operation.errors}
        assert declared <= set(texts.STATUSES), route.operation.name


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation.name)
def test_every_operation_says_what_it_does(route):
    assert route.operation.handler.__doc__, "the handler's docstring is the operation's text in the reference"
    summary, _ = openapi.summary_and_description(route.operation)
    assert len(summary) <= 120, f"the first sentence is a heading: {summary!r}"
    assert not re.match(r"(GET|POST|PUT|PATCH|DELETE|QUERY)\b", summary)


def test_extensions_say_so_and_scopes_are_named():
    @operation("things.get", Scope.MODELS_READ, response=Thing)
    async def get(call):
        """Get a thing. It has a note.

        And more.
        """

    _, its = made(get, extension=True)
    assert its["x-tidemill-extension"] is True
    assert its["x-required-scope"] == "models:read"
    assert its["security"] == [{"bearer": []}]
    assert (its["summary"], its["description"]) == ("Get a thing", "It has a note.\n\nAnd more.")
    _, its = made(get)
    assert "x-tidemill-extension" not in its


def test_members_may_be_null_or_missing_as_the_struct_says():
    @operation("things.get", response=Thing)
    async def get(call):
        """Get a thing."""

    document, its = made(get)
    assert its["security"] == []
    schema = document["components"]["schemas"]["Thing"]
    assert schema["required"] == ["id"]
    assert schema["properties"]["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert schema["properties"]["extra"] == {}


def test_a_query_struct_becomes_parameters_without_null():
    @operation("things.list", query=Asked, response=list[Thing])
    async def get(call):
        """List things."""

    _, its = made(get, path="/things")
    assert its["parameters"] == [
        {"name": "limit", "in": "query", "schema": {"type": "integer"}, "required": True},
        {"name": "word", "in": "query", "schema": {"type": "string"}},
    ]
    assert its["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"


def test_bodies_and_answers_may_be_media_types():
    @operation("things.put", body=BYTES, response=EVENTS, status=200)
    async def put(call):
        """Put a thing."""

    _, its = made(put, "PUT")
    assert its["requestBody"]["content"] == {BYTES: {"schema": {"type": "string", "format": "binary"}}}
    assert set(its["responses"]) >= {"200", "204", "413", "415", "422"}

    @operation("things.upload", body=FORM, response=BYTES)
    async def upload(call):
        """Upload a thing."""

    _, its = made(upload, "POST")
    assert its["requestBody"]["content"][FORM]["schema"]["required"] == ["content"]
    assert set(its["responses"]) >= {"200", "206", "304", "416"}


def test_query_is_a_method_that_strict_readers_skip():
    @operation("things.search", body="text/plain", response=list[Thing])
    async def search(call):
        """Search things."""

    document, _ = made(search, "QUERY", "/things")
    assert set(document["paths"]["/things"]) == {"x-query"}
    jsonschema_rs.validator_for(OPENAPI_31).validate(document)


def test_the_files_in_docs_are_what_the_route_table_gives():
    stale = [path for path, text in docs_writer.generated().items() if not _same(DOCS / path, text)]
    gone = [page.name for page in (DOCS / "reference").glob("*.md") if f"reference/{page.name}" not in _written()]
    assert not stale + gone, "run `./just docs`"


def _same(path, text):
    return path.exists() and path.read_text() == text


def _written():
    return docs_writer.generated()


def test_the_package_has_every_written_page():
    pages = {page.stem for page in DOCS.glob("*.md")}
    assert set(written_pages()) == pages - docs_writer.FOR_CONTRIBUTORS, "run `./just docs`"


def test_links_between_pages_lead_somewhere():
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_a_page_is_shown_without_obeying_its_html():
    html = render_page("# A title\n\n<script>x()</script>\n\n[there](other.md#part) [out](https://a.example/b)")
    assert "<script>" not in html
    assert "&lt;script&gt;x()" in html
    assert 'href="other#part"' in html
    assert 'href="https://a.example/b"' in html
    assert '<h1 id="a-title">' in html


def test_the_index_lists_every_page():
    library = Documentation(WHOLE, {"topic": "# A topic\n"})
    index = library.index(URL)
    assert f"- [A topic]({URL}/docs/topic.md)" in index
    assert all(f"({URL}/docs/{name}.md)" in index for name in library.pages)
    assert title_of("no heading") == "Tidemill"
    assert json.loads(library.openapi("https://tide.example/v1").body) == json.loads(json.dumps(WHOLE))

"""The reference's Markdown, from small documents."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tidemill.gateway.reference import resource_pages

SCHEMAS = {
    "Thing": {
        "description": "A thing.",
        "type": "object",
        "properties": {
            "id": {"type": "string", "maxLength": 26},
            "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
            "note": {"anyOf": [{"type": "string", "description": "Said of it"}, {"type": "null"}]},
            "any": {},
        },
        "required": ["id"],
    },
    "Part": {"enum": ["a", "b"]},
    "Other": {"type": "object", "properties": {}},
}


def document(**rest):
    operation = {
        "operationId": "things.get",
        "tags": ["things"],
        "summary": "Get a thing",
        "description": "Or a | part.",
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Its | id"}
        ],
        "responses": {
            "200": {
                "description": "Done.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
            },
            "404": {"$ref": "#/components/responses/Problem404"},
        },
        **rest,
    }
    return {
        "tags": [{"name": "things"}],
        "paths": {"/things/{id}": {"get": operation}},
        "components": {"schemas": SCHEMAS},
    }


def test_a_page_shows_an_operation_and_the_objects_it_needs():
    page = resource_pages.pages(document())["things"]
    assert "- [Get a thing](#get-a-thing)" in page
    assert "`GET /v1/things/{id}`" in page
    assert "| `id` (required) | path | string | Its \\| id |" in page
    assert "Answers `200` with [Thing](#thing); or [a problem](../api.md#problems) with `404`." in page
    assert "### Thing" in page
    assert "### Part" in page
    assert "### Other" not in page
    assert "| `parts` (may be missing) | list of [Part](#part) |  |" in page
    assert "| `note` (may be missing) | string or null | Said of it |" in page
    assert "| `any` (may be missing) | any JSON |  |" in page
    assert "`a` or `b`" in page


def test_access_is_told_in_words():
    open_to_all = resource_pages.pages(document())["things"]
    assert "Needs no token." in open_to_all
    extension = document(**{"x-required-scope": "models:read", "x-tidemill-extension": True})
    guarded = resource_pages.pages(extension)["things"]
    assert "Needs a token with the scope `models:read`. An extension" in guarded


def test_limits_of_types_are_told():
    assert resource_pages.type_of({"type": "integer", "minimum": 0, "maximum": 5}) == "integer (from 0, to 5)"
    assert resource_pages.type_of({"type": "string", "format": "date-time"}) == "string (as date-time)"


@given(st.text(max_size=60))
def test_anchors_hold_no_space_and_no_markup(heading):
    assert not re.search(r"[\s()#`\[\]]", resource_pages.slug(heading))

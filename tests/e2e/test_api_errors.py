"""What the API answers to requests that are wrong: the documented problem, never a 500."""

import io

import aiohttp
import pytest

MISSING = {"detail": "The requested resource could not be found.", "status": 404}
INVALID_VERSION = {
    "title": "Invalid version or not permitted",
    "detail": "The specified version does not exist (or perhaps you don't have permission to use it?)",
    "status": 422,
}
TEXT = "/v1/models/local/e2e_text/predictions"
UNKNOWN_ID = "0123456789abcdefghjkmnpqrs"


@pytest.fixture(scope="module")
async def api(stack):
    """Sends a request; (status, content type, body)."""
    async with stack.session() as session:

        async def send(method, path, **rest):
            async with session.request(method, path, **rest) as response:
                body = await response.json(content_type=None) if response.content_length != 0 else None
                return response.status, response.content_type, body

        yield send


async def problem(answer):
    status, content_type, body = answer
    assert content_type == "application/problem+json"
    assert body["status"] == status
    assert isinstance(body["detail"], str)
    return body


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"\xff\xfe", b'{"input": {"text": }}', b'{"input": {}} x'])
async def test_what_is_not_json_is_a_bad_request(api, body):
    answer = await problem(await api("POST", TEXT, data=body))
    assert (answer["status"], answer["title"]) == (400, "Bad request")


async def test_a_body_that_is_too_large_is_refused(api):
    body = io.BytesIO(b'{"input": {"text": "' + b"x" * (7 << 20) + b'"}}')
    answer = await problem(await api("POST", TEXT, data=body))
    assert answer == {"title": "Payload too large", "detail": "The request body is over 6 MB.", "status": 413}


@pytest.mark.parametrize("depth", [65, 5_000, 200_000])
async def test_deep_nesting_is_refused(api, depth):
    answer = await problem(await api("POST", TEXT, data=b'{"input": {"text": ' + b"[" * depth + b"]" * depth + b"}}"))
    assert answer["status"] in {400, 422}
    assert "nests" in answer["detail"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, {"type": "required", "field": "input", "description": "text is required"}),
        (
            {"text": 7},
            {
                "type": "invalid_type",
                "field": "input.text",
                "description": "Invalid type. Expected: string, given: integer",
            },
        ),
        (
            {"text": "x", "times": 10},
            {"type": "number_lte", "field": "input.times", "description": "Must be less than or equal to 9"},
        ),
        (
            {"text": "x", "times": 0},
            {"type": "number_gte", "field": "input.times", "description": "Must be greater than or equal to 1"},
        ),
    ],
)
async def test_a_wrong_input_names_the_field(api, given, field):
    answer = await problem(await api("POST", TEXT, json={"input": given}))
    assert answer == {
        "title": "Input validation failed",
        "detail": f"- {field['field']}: {field['description']}\n",
        "status": 422,
        "invalid_fields": [field],
    }


@pytest.mark.parametrize("body", ["[]", "7", "null", "{}", '{"input": []}', '{"input": null}', '{"input": "x"}'])
async def test_a_body_of_another_shape_is_unprocessable(api, body):
    answer = await problem(await api("POST", TEXT, data=body))
    assert answer["status"] == 422


@pytest.mark.parametrize(
    "rest",
    [
        {"webhook": "ftp://example.com/"},
        {"webhook": 7},
        {"webhook": "http://127.0.0.1/" + "x" * 3000},
        {"webhook_events_filter": ["finished"]},
        {"webhook_events_filter": "completed"},
    ],
)
async def test_a_wrong_webhook_is_unprocessable(api, rest):
    answer = await problem(await api("POST", TEXT, json={"input": {"text": "x"}, **rest}))
    assert answer["status"] == 422


@pytest.mark.parametrize("value", ["soon", "1", "4s", "-5s", "9999999h", ""])
async def test_a_wrong_cancel_after_is_unprocessable(api, value):
    answer = await problem(await api("POST", TEXT, json={"input": {"text": "x"}}, headers={"Cancel-After": value}))
    assert answer["status"] == 422
    assert "Cancel-After" in answer["detail"]


@pytest.mark.parametrize(
    "version", ["0" * 64, "local/nowhere", f"local/e2e_text:{'0' * 64}", "local/e2e_text:latest", "x"]
)
async def test_an_unknown_version_is_unprocessable(api, version):
    answer = await problem(await api("POST", "/v1/predictions", json={"version": version, "input": {"text": "x"}}))
    assert answer == INVALID_VERSION


async def test_a_version_must_be_given(api):
    answer = await problem(await api("POST", "/v1/predictions", json={"input": {"text": "x"}}))
    assert (answer["status"], answer["detail"]) == (422, "- version is required\n")


async def test_a_member_that_there_is_not_is_refused_as_replicate_does(api):
    answer = await problem(await api("POST", "/v1/predictions", json={"model": "a/b", "input": {}}))
    assert (answer["title"], answer["status"]) == ("Input validation failed", 422)
    text = "Additional property model is not allowed"
    assert sorted(answer["detail"].splitlines()) == [f"- {text}", "- version is required"]
    assert {"type": "additional_property_not_allowed", "field": "", "description": text} in answer["invalid_fields"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/local/nowhere"),
        ("GET", "/v1/models/local/nowhere/versions"),
        ("GET", f"/v1/models/local/e2e_text/versions/{'0' * 64}"),
        ("POST", "/v1/models/local/nowhere/predictions"),
        ("GET", f"/v1/predictions/{UNKNOWN_ID}"),
        ("GET", "/v1/predictions/no-id-at-all"),
        ("GET", "/v1/predictions/%00"),
        ("POST", f"/v1/predictions/{UNKNOWN_ID}/cancel"),
        ("GET", "/v1/nothing"),
        ("GET", "/"),
    ],
)
async def test_what_is_not_there_is_not_found(api, method, path):
    body = {"json": {"input": {"text": "x"}}} if method == "POST" else {}
    assert await problem(await api(method, path, **body)) == MISSING


async def test_what_is_another_accounts_looks_as_if_it_were_not_there(api, new_token):
    status, _, made = await api("POST", TEXT, json={"input": {"text": "mine"}})
    assert status == 201
    stranger = {"Authorization": f"Bearer {new_token('stranger')}"}
    for method, path in (("GET", ""), ("POST", "/cancel")):
        foreign = await api(method, f"/v1/predictions/{made['id']}{path}", headers=stranger)
        unknown = await api(method, f"/v1/predictions/{UNKNOWN_ID}{path}", headers=stranger)
        assert await problem(foreign) == await problem(unknown) == MISSING
    _, _, listed = await api("GET", "/v1/predictions", headers=stranger)
    assert listed["results"] == []


async def test_a_private_model_looks_to_others_as_if_it_were_not_there(api, new_token):
    wanted = {"owner": "local", "name": "e2e-private", "visibility": "private", "hardware": "cpu"}
    assert (await api("POST", "/v1/models", json=wanted))[0] == 201
    stranger = {"Authorization": f"Bearer {new_token('stranger')}"}
    assert (await api("GET", "/v1/models/local/e2e-private"))[0] == 200
    assert await problem(await api("GET", "/v1/models/local/e2e-private", headers=stranger)) == MISSING


async def test_another_accounts_file_looks_as_if_it_were_not_there(api, new_token):
    status, _, made = await api("POST", "/v1/files", data={"content": io.BytesIO(b"mine")})
    assert status == 201
    stranger = {"Authorization": f"Bearer {new_token('stranger')}"}
    for method in ("GET", "DELETE"):
        foreign = await api(method, f"/v1/files/{made['id']}", headers=stranger)
        unknown = await api(method, f"/v1/files/{UNKNOWN_ID}", headers=stranger)
        assert await problem(foreign) == await problem(unknown) == {"detail": "File not found", "status": 404}
    assert (await api("DELETE", f"/v1/files/{made['id']}"))[0] == 204
    assert (await problem(await api("GET", f"/v1/files/{made['id']}")))["detail"] == "File not found"


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer ", "Bearer wrong", f"Bearer r8_{'x' * 37}", "Basic bG9jYWw6", "Bearer \x80é"]
)
async def test_a_bad_token_is_refused(api, authorization):
    answer = await problem(await api("GET", "/v1/account", headers={"Authorization": authorization}))
    assert answer == {
        "title": "Unauthenticated",
        "detail": "You did not pass a valid authentication token",
        "status": 401,
    }


async def test_a_missing_token_is_refused(stack):
    async with aiohttp.ClientSession(stack.base_url) as session, session.get("/v1/account") as response:
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert (response.status, await response.json(content_type=None)) == (
            401,
            {"title": "Unauthenticated", "detail": "You did not pass an authentication token", "status": 401},
        )


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer"])
async def test_every_scheme_of_a_token_is_taken(api, stack, scheme):
    status, _, body = await api("GET", "/v1/account", headers={"Authorization": f"{scheme} {stack.token}"})
    assert (status, body["username"], body["type"]) == (200, "local", "user")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("PUT", "/v1/predictions", "POST"), ("DELETE", "/v1/account", "GET"), ("PATCH", "/v1/files", "POST")],
)
async def test_a_wrong_method_is_not_allowed(stack, method, path, allow):
    async with stack.session() as session, session.request(method, path) as response:
        assert response.status == 405
        assert response.content_type == "application/problem+json"
        assert allow in response.headers["Allow"].split(", ")
        assert (await response.json(content_type=None))["status"] == 405


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1"])
async def test_every_form_of_the_base_url_is_the_same_route(api, prefix):
    status, _, body = await api(
        "POST", f"{prefix}/models/local/e2e_text/predictions", json={"input": {"text": "x"}}, headers={"Prefer": "wait"}
    )
    assert (status, body["output"]) == (201, "[x]")
    assert (await api("GET", f"{prefix}/predictions/{body['id']}"))[2]["output"] == "[x]"
    assert (await problem(await api("GET", f"{prefix}/predictions/{UNKNOWN_ID}"))) == MISSING


@pytest.mark.parametrize("query", ["cursor=nonsense", "cursor=%00", "source=elsewhere", "created_after=yesterday"])
async def test_a_wrong_query_is_a_bad_request(api, query):
    answer = await problem(await api("GET", f"/v1/predictions?{query}"))
    assert answer["status"] == 400


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"owner": "somebody"}, 403),
        ({"name": "e2e_text"}, 409),
        ({"name": "../up"}, 422),
        ({"visibility": "secret"}, 422),
        ({"hardware": "abacus"}, 422),
    ],
)
async def test_a_wrong_model_is_refused(api, change, status):
    wanted = {"owner": "local", "name": "e2e-new", "visibility": "private", "hardware": "cpu", **change}
    answer = await problem(await api("POST", "/v1/models", json=wanted))
    assert answer["status"] == status

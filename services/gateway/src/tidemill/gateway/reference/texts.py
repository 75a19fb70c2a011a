"""Texts of the reference that many operations share: parameters, headers, statuses. Data only."""

from typing import Any, Final

Json = dict[str, Any]

ABOUT: Final = """\
Run machine-learning models on machines you own. The operations are Replicate's, so that its official clients work
unmodified; those marked `x-tidemill-extension` are additions.

Every path also answers without `/v1` and below `/v1/v1`, with or without a slash at its end; GET includes HEAD.
Lists come in pages: `next` and `previous` are absolute URLs to follow verbatim. Errors are `application/problem+json`
with `detail` and `status`. What belongs to somebody else answers exactly what a missing thing answers."""
BEARER: Final = "An API token, as `Authorization: Bearer TOKEN` (or `Token TOKEN`). It acts for one account."

PROBLEM: Final[Json] = {
    "title": "Problem",
    "description": "Why a request was refused (RFC 9457). Members beyond those named here may be added.",
    "type": "object",
    "properties": {
        "title": {"type": "string", "description": "The kind of problem"},
        "detail": {"type": "string", "description": "What is wrong, for people to read"},
        "status": {"type": "integer", "description": "The HTTP status"},
        "invalid_fields": {
            "type": "array",
            "description": "Which members of an input or a body are refused, and why; `field` is empty for the body",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "field": {"type": "string"},
                    "description": {"type": "string"},
                    "suggestion": {"type": "string", "description": "The name that was probably meant"},
                },
                "required": ["type", "field", "description"],
            },
        },
        "retry_after": {"type": "number", "description": "Seconds after which a retry makes sense"},
    },
    "required": ["detail", "status"],
}

UPLOAD_FORM: Final[Json] = {
    "type": "object",
    "properties": {
        "content": {"type": "string", "format": "binary", "description": "The bytes, at most 100 MB"},
        "filename": {"type": "string", "maxLength": 255, "description": "Else that of the content's part"},
        "type": {"type": "string", "maxLength": 255, "description": "The media type; else that of the content's part"},
        "metadata": {"type": "string", "description": "A JSON object of labels, at most 16 KiB"},
    },
    "required": ["content"],
}

PATH: Final = {
    "owner": "The user or organization that owns it.",
    "name": "Its name.",
    "username": "The name of a user or organization.",
    "id": "Its id.",
    "sha256": "The SHA-256 of the bytes, in hexadecimal.",
    "token": "A signed capability, as the API put it into a URL.",
    "slug": "The collection's short name.",
    "page": "A page's name; with `.md` it is always Markdown.",
    "secret": "The name of an environment variable.",
    "prediction_id": "The prediction's id.",
}
QUERY: Final = {
    "cursor": "Where the page begins: from the `next` or `previous` of another page.",
    "owner": "The account that the file belongs to.",
    "expiry": "When the signature ends, in unix seconds.",
    "signature": "Proof that the URL was made here.",
    "source": "`web` for predictions that were made on the website.",
}
HEADERS: Final[dict[str, Json]] = {
    "Prefer": {
        "description": "`wait` or `wait=SECONDS`, at most 60: answer when the prediction has ended, or `starting` when"
        " the time is over. Without it the answer comes at once. `aborted`, also beside it: show that status as it is;"
        " clients that do not ask see `canceled`.",
        "schema": {"type": "string"},
        "examples": {"as long as allowed": {"value": "wait"}, "ten seconds": {"value": "wait=10"}},
    },
    "Cancel-After": {
        "description": "End it when it has not ended by then: `30`, `30s`, `5m` or `1h30m45s`, counted from its"
        " creation; at least 5 seconds, at most a day.",
        "schema": {"type": "string"},
        "example": "5m",
    },
    "Idempotency-Key": {
        "description": "A text of your choice, unique to what you want done: a repetition within a day answers what"
        " the first request made.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "Last-Event-ID": {
        "description": "The id of the last event that arrived: the stream goes on after it.",
        "schema": {"type": "string"},
    },
    "Range": {"description": "One range of bytes, as in `bytes=0-99`.", "schema": {"type": "string"}},
    "If-None-Match": {"description": "An ETag: 304 when it is still right.", "schema": {"type": "string"}},
    "If-Modified-Since": {"description": "A time: 304 when nothing changed.", "schema": {"type": "string"}},
    "If-Match": {"description": "An ETag: 412 when it is no longer right.", "schema": {"type": "string"}},
    "If-Unmodified-Since": {"description": "A time: 412 when something changed.", "schema": {"type": "string"}},
    "If-Range": {
        "description": "An ETag or a time: when it is no longer right, all is sent instead of the range.",
        "schema": {"type": "string"},
    },
    "Accept": {
        "description": "`text/html` for a page to look at; else Markdown is sent.",
        "schema": {"type": "string"},
    },
}
STATUSES: Final = {
    200: "Done.",
    201: "Created.",
    202: "Accepted; it is done in the background.",
    204: "Done; nothing to say.",
    206: "The range asked for.",
    304: "What you have is still right.",
    400: "The request is malformed: its query, a cursor, or a body that is not what it says.",
    401: "The token is missing, unknown, expired or revoked.",
    402: "The account has no credit left.",
    403: "The token may not do this.",
    404: "There is no such thing, or it is not yours.",
    409: "It contradicts what is there.",
    408: "The body did not come in time.",
    410: "It is gone.",
    411: "The length of the body must be given.",
    412: "The conditions of the request are not met.",
    413: "The body is too large.",
    415: "The media type or the encoding of the body is not accepted.",
    416: "The range lies outside the file.",
    422: "The request was understood and is refused: the detail says which member is wrong.",
    429: "Too many requests, or too many predictions under way.",
    500: "Something went wrong on our side; the detail names an incident.",
    503: "Away for a moment, or overloaded; retry after the time given.",
}

RESPONSE_HEADERS: Final[dict[str, Json]] = {
    "Content-Range": {"description": "Which bytes of how many these are.", "schema": {"type": "string"}},
    "Location": {"description": "Where to find what was made.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "The wait that was granted.", "schema": {"type": "string"}},
    "RateLimit-Limit": {"description": "Requests at once that the limit allows.", "schema": {"type": "string"}},
    "RateLimit-Remaining": {"description": "How many of them are left.", "schema": {"type": "string"}},
    "RateLimit-Reset": {"description": "Seconds until all of them are there again.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Seconds after which a retry makes sense.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
}
_LIMITS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")  # for accounts with limits
_OF_STATUS: Final[dict[int, tuple[str, ...]]] = {
    201: ("Location",),
    206: ("Content-Range",),
    401: ("WWW-Authenticate",),
    416: ("Content-Range",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def headers_of(status: int) -> tuple[str, ...]:
    """Return the names of the headers that a response with this status may have."""
    return (*_OF_STATUS.get(status, ()), *_LIMITS)

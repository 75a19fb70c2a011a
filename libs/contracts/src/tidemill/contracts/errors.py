"""Errors that users see: HTTP problems, and the error codes of failed predictions."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """Why a prediction did not succeed, for programs. docs/errors.md says what each means; new ones may come."""

    MODEL_ERROR = "model_error"
    MODEL_CRASHED = "model_crashed"
    MODEL_FLOODED = "model_flooded"
    OUT_OF_MEMORY = "out_of_memory"
    BOOT_FAILED = "boot_failed"
    WORKER_LOST = "worker_lost"
    TIME_LIMIT = "time_limit"
    DEADLINE = "deadline"
    INPUT_FETCH_FAILED = "input_fetch_failed"
    OUTPUT_TOO_LARGE = "output_too_large"
    OUTPUT_UPLOAD_FAILED = "output_upload_failed"
    VERSION_DELETED = "version_deleted"
    DEPLOYMENT_DISABLED = "deployment_disabled"
    INTERNAL = "internal"


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """An HTTP error with a problem+json body: `detail`, `status`, and `title` and extra members where given."""

    def __init__(
        self,
        status: int,
        detail: str,
        title: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.title = title
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        title = {"title": self.title} if self.title else {}
        return {**title, "detail": self.detail, "status": self.status, **self.extra}


def not_found() -> Problem:
    """Return the 404 for missing objects and for those of another account, which a caller must not tell apart."""
    return Problem(404, "The requested resource could not be found.")


def unauthenticated(*, passed: bool) -> Problem:
    what = "You did not pass a valid authentication token" if passed else "You did not pass an authentication token"
    return Problem(401, what, "Unauthenticated", headers={"WWW-Authenticate": "Bearer"})


def invalid_version() -> Problem:
    return Problem(
        422,
        "The specified version does not exist (or perhaps you don't have permission to use it?)",
        "Invalid version or not permitted",
    )


def invalid_input(fields: Sequence[Mapping[str, str]]) -> Problem:
    """Return the 422 for an invalid input.

    `fields` are Replicate's: {type, field, description}, and optionally `suggestion` for a probable misspelling.
    `field` is `input`, `input.name`, or empty for the body itself.
    """
    lines = "".join(f"- {_line(field)}\n" for field in fields)
    return Problem(422, lines, "Input validation failed", extra={"invalid_fields": list(fields)})


def invalid_member(field: str, description: str, kind: str = "invalid") -> Problem:
    """Return the 422 for one member with the right type and a wrong value."""
    return invalid_input([{"type": kind, "field": field, "description": description}])


def _line(field: Mapping[str, str]) -> str:
    where = f"{field['field']}: " if field["field"] else ""
    meant = f" (did you mean {field['suggestion']}?)" if "suggestion" in field else ""
    return f"{where}{field['description']}{meant}"


def forbidden(detail: str) -> Problem:
    """Return the 403 for what the caller may see but not do. Objects of other accounts are `not_found`."""
    return Problem(403, detail, "Permission denied")


def conflict(detail: str) -> Problem:
    return Problem(409, detail, "Conflict")


def bad_request(detail: str) -> Problem:
    return Problem(400, detail, "Bad request")


def unprocessable(detail: str, title: str = "Invalid request") -> Problem:
    return Problem(422, detail, title)


def throttled(retry_after_s: int, detail: str | None = None) -> Problem:
    """Return the 429. The body is Replicate's; clients read the seconds from it or from the header."""
    default = f"Request was throttled. Your rate limit resets in ~{retry_after_s}s."
    return Problem(
        429, detail or default, headers={"Retry-After": str(retry_after_s)}, extra={"retry_after": retry_after_s}
    )


def unavailable(detail: str, retry_after_s: int = 1) -> Problem:
    return Problem(503, detail, "Service unavailable", headers={"Retry-After": str(retry_after_s)})

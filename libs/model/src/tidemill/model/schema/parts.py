"""The components of the OpenAPI document that are equal for all models, as Replicate serves them.

Each function returns a new document: callers add to it.
"""

from typing import Any, Final

STATUSES: Final = ("starting", "processing", "succeeded", "canceled", "failed")
WEBHOOK_EVENTS: Final = ("start", "output", "logs", "completed")
URL_LIMIT_CHARS: Final = 65536  # Cog's limit

Schema = dict[str, Any]


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def enumeration(title: str, values: tuple[Any, ...] | list[Any], kind: str) -> Schema:
    return {"type": kind, "title": title, "enum": list(values), "description": "An enumeration."}


def fixed() -> Schema:
    """Return Status, WebhookEvent and the two validation errors by name."""
    location = {"type": "array", "title": "Location", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}
    return {
        "Status": enumeration("Status", STATUSES, "string"),
        "WebhookEvent": enumeration("WebhookEvent", WEBHOOK_EVENTS, "string"),
        "ValidationError": {
            "type": "object",
            "title": "ValidationError",
            "required": ["loc", "msg", "type"],
            "properties": {
                "loc": location,
                "msg": {"type": "string", "title": "Message"},
                "type": {"type": "string", "title": "Error Type"},
            },
        },
        "HTTPValidationError": {
            "type": "object",
            "title": "HTTPValidationError",
            "properties": {
                "detail": {"type": "array", "title": "Detail", "items": reference("ValidationError")},
            },
        },
    }


def request(prefix: str, source: str) -> Schema:
    """Return PredictionRequest or TrainingRequest (`prefix`). Its input is the component `source`."""
    title = f"{prefix}Request"
    return {
        "type": "object",
        "title": title,
        "properties": {
            "id": _text("Id"),
            "input": reference(source),
            "webhook": {**_text("Webhook"), "format": "uri", "minLength": 1, "maxLength": URL_LIMIT_CHARS},
            "created_at": _timestamp("Created At"),
            "output_file_prefix": _text("Output File Prefix"),
            "webhook_events_filter": {
                "type": "array",
                "items": reference("WebhookEvent"),
                "default": list(WEBHOOK_EVENTS),
                "uniqueItems": True,
            },
        },
    }


def response(prefix: str, source: str, result: str) -> Schema:
    """Return PredictionResponse or TrainingResponse, with the components of input and output."""
    title = f"{prefix}Response"
    return {
        "type": "object",
        "title": title,
        "properties": {
            "id": _text("Id"),
            "logs": {**_text("Logs"), "default": ""},
            "error": _text("Error"),
            "input": reference(source),
            "output": reference(result),
            "status": reference("Status"),
            "metrics": {"type": "object", "title": "Metrics"},
            "version": _text("Version"),
            "created_at": _timestamp("Created At"),
            "started_at": _timestamp("Started At"),
            "completed_at": _timestamp("Completed At"),
        },
    }


def _text(title: str) -> Schema:
    return {"type": "string", "title": title}


def _timestamp(title: str) -> Schema:
    return {"type": "string", "title": title, "format": "date-time"}

"""Logs (structlog, JSON), metrics (Prometheus) and trace context (OpenTelemetry; off until an OTLP URL is set).

Secrets never reach a log: every rendered line passes `redact_secrets`.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tidemill.runtime.config import Common
from tidemill.security.redact import redact_secrets

log = structlog.stdlib.get_logger
_PROPAGATOR = TraceContextTextMapPropagator()


def configure(service: str, config: Common) -> None:
    """Set up logging and, if an OTLP URL is set, tracing of this process. Called once, first in `main`."""
    level = logging.getLevelNamesMapping().get(config.log_level.upper(), logging.INFO)
    enrich: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        lambda _logger, _method, event: {"service": service, **event},
    ]
    render: list[Any] = [
        structlog.dev.ConsoleRenderer() if config.log_format == "text" else structlog.processors.JSONRenderer(),
        lambda _logger, _method, line: redact_secrets(str(line)),
    ]
    structlog.configure(
        processors=[*enrich, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_libraries(enrich, render)], force=True)
    if config.otlp_url:
        _export_spans(service, config.otlp_url, config.trace_ratio)


def _libraries(enrich: list[Any], render: list[Any]) -> logging.Handler:
    """Return a handler that writes the log records of libraries in the form of our own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *enrich],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    handler.addFilter(_is_ours)
    return handler


def _is_ours(record: logging.LogRecord) -> bool:
    """Return False for requests that are no HTTP: the line could hold a token, and scanners send very many."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


def _export_spans(service: str, otlp_url: str, ratio: float) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - slow, seldom

    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(ratio), resource=Resource.create({"service.name": f"tidemill-{service}"})
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_url)))
    trace.set_tracer_provider(provider)
    _Tracing.on = True


class _Tracing:
    """Whether spans are exported. To ask OpenTelemetry costs 3 µs each time, since it reads the environment."""

    on = False


def record(name: str, traceparent: str | None, started_at: float, ended_at: float) -> None:
    """Record a span that has ended already. Times are unix seconds."""
    if _Tracing.on:
        context = _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {})
        made = trace.get_tracer("tidemill").start_span(name, context=context, start_time=int(started_at * 1e9))
        made.end(end_time=int(ended_at * 1e9))


def span(name: str, traceparent: str | None = None) -> AbstractContextManager[str | None]:
    """Open a span below a W3C traceparent. Yield the traceparent to pass on; without tracing, the given one."""
    return _span(name, traceparent) if _Tracing.on else nullcontext(traceparent)


@contextmanager
def _span(name: str, traceparent: str | None) -> Iterator[str | None]:
    context = _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {})
    with trace.get_tracer("tidemill").start_as_current_span(name, context=context):
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        yield carrier.get("traceparent")

"""Traces: W3C's traceparent in and out, and spans by OpenTelemetry if the operator sets it up."""

import os
import re
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from app.errors import BadRequest

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True)
class TraceContext:
    """A place in a trace: identifiers in hexadecimal as in the header, ``flags`` 01 if it is recorded."""

    trace_id: str
    span_id: str
    flags: str

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parse(header: str) -> TraceContext | None:
    """The place that the header traceparent states; None if it is missing or not valid by W3C's Trace Context."""
    match = TRACEPARENT.fullmatch(header)
    if not match:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id, span_id, flags)


class Span:
    """One request in its trace; ``recorded`` is OpenTelemetry's span, if there is one."""

    def __init__(self, context: TraceContext, tracer: Any = None, recorded: Any = None):
        self.context = context
        self._tracer = tracer
        self._recorded = recorded

    def stages(self, timings_ms: Mapping[str, float]) -> None:
        """The stages of a prediction, one after the other; the last has just ended."""
        if self._recorded is None:
            return
        from opentelemetry.trace import set_span_in_context

        parent = set_span_in_context(self._recorded)
        begin_ns = time.time_ns() - round(1e6 * sum(timings_ms.values()))
        for stage, ms in timings_ms.items():
            end_ns = begin_ns + round(1e6 * ms)
            self._tracer.start_span(stage, parent, start_time=begin_ns).end(end_ns)
            begin_ns = end_ns

    def end(self, method: str, route: str, status: int, attributes: Mapping[str, str | int]) -> None:
        """The answer is sent."""
        if self._recorded is None:
            return
        from opentelemetry.trace import StatusCode

        self._recorded.update_name(f"{method} {route}".rstrip())
        known = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        self._recorded.set_attributes({**known, **attributes})
        if status >= 500:
            self._recorded.set_status(StatusCode.ERROR)
        self._recorded.end()


class Telemetry:
    """Begins the span of every request; ``traces`` says whether OpenTelemetry gets it."""

    def __init__(self, traces: bool):
        self._tracer = _tracer() if traces else None

    def begin(self, traceparent: str, tracestate: str) -> Span:
        """The span of a request with these headers, '' for none; a child of the one that they name."""
        if self._tracer is None:
            parent = parse(traceparent)
            trace_id, flags = (parent.trace_id, parent.flags) if parent else (secrets.token_hex(16), "00")
            return Span(TraceContext(trace_id, secrets.token_hex(8), flags))
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parents = TraceContextTextMapPropagator().extract({"traceparent": traceparent, "tracestate": tracestate})
        recorded = self._tracer.start_span("request", parents, SpanKind.SERVER)
        found = recorded.get_span_context()
        context = TraceContext(f"{found.trace_id:032x}", f"{found.span_id:016x}", f"{found.trace_flags:02x}")
        return Span(context, self._tracer, recorded)


def check(traces: bool) -> None:
    """Raise BadRequest if ``traces`` are wanted and OpenTelemetry is not installed."""
    needed = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        missing = next((name for name in needed if traces and find_spec(name) is None), "")
    except ModuleNotFoundError as error:
        missing = error.name or "opentelemetry"
    if missing:
        raise BadRequest(
            f"POINTSERVE_TRACES needs {missing}, which is not installed: run `{sys.executable} -m pip install "
            "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http`."
        )


def _tracer() -> Any:
    """OpenTelemetry's, sending by OTLP over HTTP, set by its own variables OTEL_*."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "pointserve")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("pointserve")

"""OpenTelemetry traces (the extra `otel`): one for each rotation or retirement, a span for each step and outbound call.

A trace's id is the id of its rotation (of its retirement), a UUID; so all processes that ever work on it write to one
trace, whenever that is. Spans hold names, ids and reasons, never the text of an error.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING
from uuid import UUID

from rotator import __version__, logs
from rotator.domain.errors import RotatorError
from rotator.ports.doing import Doing, Lookout, nobody

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

_WANTED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@functools.cache
def lookout() -> Lookout:
    """What traces as OpenTelemetry's own variables say, over OTLP; nothing where they name no endpoint."""
    return _exporting(os.environ)


def _exporting(environ: Mapping[str, str]) -> Lookout:
    if not any(environ.get(name) for name in _WANTED):
        return nobody
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        logs.log.warning("nothing is traced: pip install 'keyturn[otel]'")
        return nobody
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    service = environ.get("OTEL_SERVICE_NAME") or "keyturn"
    provider = TracerProvider(resource=Resource.create({"service.name": service, "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return traced(provider.get_tracer("keyturn", __version__))


def traced(tracer: Tracer) -> Lookout:
    """The lookout that writes spans with this tracer. What is done for no rotation and no retirement has none."""

    def look(doing: Doing) -> AbstractContextManager[object]:
        trace = doing.rotation or doing.retirement
        return nobody(doing) if trace is None or doing.kind == "turn" else _span(tracer, doing, trace)

    return look


@contextmanager
def _span(tracer: Tracer, doing: Doing, trace: str) -> Iterator[None]:
    from opentelemetry.trace import SpanKind, Status, StatusCode

    told = {
        "keyturn.credential": doing.credential,
        "keyturn.rotation": doing.rotation,
        "keyturn.retirement": doing.retirement,
        "keyturn.provider": doing.provider,
        "keyturn.attempt": doing.attempt,
    }
    with tracer.start_as_current_span(
        doing.name,
        context=_parent(UUID(trace)),
        kind=SpanKind.CLIENT if doing.kind == "call" else SpanKind.INTERNAL,
        attributes={name: value for name, value in told.items() if value is not None},
        record_exception=False,  # its text may quote anything
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except BaseException as problem:
            reason = problem.reason if isinstance(problem, RotatorError) else type(problem).__name__
            span.set_attribute("error.type", reason)
            span.set_status(Status(StatusCode.ERROR, reason))
            raise


def _parent(trace: UUID) -> Context:
    """The span that is open, if it is of this trace; else the trace's root, which is the same for every process."""
    from opentelemetry import context
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        get_current_span,
        set_span_in_context,
    )

    current: Span = get_current_span()
    if current.get_span_context().trace_id == trace.int:
        return context.get_current()
    root = trace.int & 0xFFFF_FFFF_FFFF_FFFF
    flags = TraceFlags(TraceFlags.SAMPLED)
    return set_span_in_context(NonRecordingSpan(SpanContext(trace.int, root, is_remote=True, trace_flags=flags)))

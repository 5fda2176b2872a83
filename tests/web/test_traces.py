"""One trace for each rotation, joined by every process; a span for each step and call; no secret in any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from rotator import tracing
from rotator.engine.work import Surroundings
from rotator.ports.doing import Doing, Lookout, nobody
from rotator.testbed.gate import Refuse
from tests.conftest import Canaries
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Place
from tests.engine.test_rotation import is_write


@dataclass
class Traced(Place):
    """Each run is a process of its own, with its own tracer."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def surroundings(self) -> Surroundings:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        return replace(super().surroundings(), doing=tracing.traced(provider.get_tracer("test")))

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def traced(web_embedded: OpenAIWeb) -> Iterator[tuple[OpenAIWeb, Traced]]:
    place = Traced(web_embedded.place.folder)
    web_embedded.place = place
    yield web_embedded, place
    place.exporter.shutdown()


def test_a_rotation_is_one_trace_of_all_processes_that_worked_on_it(
    traced: tuple[OpenAIWeb, Traced], canary: Canaries
) -> None:
    web, place = traced
    web.vault_gate.on(is_write, Refuse(), times=None)
    place.rotate(patience=0.5)
    web.vault_gate.clear()
    place.rotate(patience=5)
    canary.watch(web.value() or "")
    (rotation,) = {event["rotation"] for event in place.events if event["event"] == "promote.succeeded"}
    spans = [span for span in place.spans() if (span.attributes or {}).get("keyturn.rotation") == rotation]
    assert {span.context.trace_id for span in spans if span.context} == {UUID(rotation).int}
    steps = {span.context.span_id: span for span in spans if span.context and "." not in span.name}
    assert {span.name for span in steps.values()} >= {"create", "authenticate", "push", "verify", "promote"}
    roots = {span.parent.span_id for span in steps.values() if span.parent}
    assert roots == {UUID(rotation).int & 0xFFFF_FFFF_FFFF_FFFF}
    calls = [span for span in spans if "." in span.name]
    within = {steps[span.parent.span_id].name for span in calls if span.parent and span.parent.span_id in steps}
    assert {"create", "authenticate", "push", "verify"} <= within
    failed = [span for span in calls if span.status.status_code is StatusCode.ERROR]
    assert {span.status.description for span in failed} <= {"unavailable", "lost_answer", "unreachable"}
    assert failed
    everything = "".join(span.to_json() for span in place.spans())
    assert canary.found_in(everything) == []
    assert "CANARY" not in everything


def test_an_error_of_somebody_else_is_told_by_its_type_alone() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    look: Lookout = tracing.traced(provider.get_tracer("test"))
    doing = Doing(kind="call", name="A.b", credential="web", retirement="6f1ed002-ab5e-4b2a-9a5c-0123456789ab")
    with pytest.raises(ValueError, match="sk-secret"), look(doing):
        int("sk-secret")
    (span,) = exporter.get_finished_spans()
    assert (span.status.description, span.events) == ("ValueError", ())
    assert "sk-secret" not in span.to_json()


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert tracing._exporting({}) is nobody

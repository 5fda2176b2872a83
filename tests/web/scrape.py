"""A scrape as Prometheus makes it, through the OpenMetrics parser."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

Series = tuple[str, frozenset[tuple[str, str]]]
Scrape = Mapping[Series, float]


def scrape(collector: Collector) -> Scrape:
    """Series → value. The parser refuses what is not OpenMetrics, duplicates included."""
    registry = CollectorRegistry()
    registry.register(collector)
    return parse(generate_latest(registry).decode())  # type: ignore[no-untyped-call]


def parse(text: str) -> Scrape:
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found: Scrape, name: str, **labels: str) -> float:
    """Of the one series with these labels, among others."""
    (one,) = (v for (n, of), v in found.items() if n == name and of >= frozenset(labels.items()))
    return one

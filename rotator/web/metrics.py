"""The metrics of an installation, read from its database when they are asked for.

So the daemon, `rotator metrics serve` and `rotator metrics write` tell the same, whichever process did the work and
whether or not it still lives. Formats: OpenMetrics 1.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/) and
Prometheus' text format, as the scraper asks for.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import write_to_textfile
from prometheus_client.registry import Collector

from rotator import __version__
from rotator.domain.errors import RotatorError
from rotator.domain.model import Cause, RotationState
from rotator.engine import census
from rotator.engine.census import STATUSES, Census, Standing
from rotator.engine.report import Report
from rotator.engine.tally import STEP_BUCKETS
from rotator.web import catalogue
from rotator.web.catalogue import Metric

Labels = tuple[str, ...]
Samples = dict[Metric, dict[Labels, float]]

_KEPT = 10
"""What was collected is given again for so many times as long as it took: scrapers take a tenth of a core at most."""


class Installation(Collector):
    """Reads the database at each scrape, or gives again what was read a moment ago. `report` may raise RotatorError."""

    def __init__(self, report: Callable[[], Report], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: list[Family] = []
        self._until = monotonic()

    def collect(self) -> Iterable[Family]:
        """All families."""
        with self._lock:
            began = self._monotonic()
            if began >= self._until:
                samples = self._read()
                took = self._monotonic() - began
                samples[catalogue.TOOK] = {(): took}
                self._last = [family for metric in catalogue.METRICS for family in _family(metric, samples)]
                self._until = self._monotonic() + _KEPT * took
            return self._last

    def describe(self) -> Iterable[Family]:
        """Nothing is read before somebody asks."""
        return ()

    def _read(self) -> Samples:
        try:
            return samples_of(census.take(self._report()))
        except RotatorError:
            return {catalogue.DATABASE_UP: {(): 0}}


def write(collector: Collector, file: Path) -> None:
    """A textfile for node_exporter, replaced as a whole. Raises OSError."""
    registry = CollectorRegistry()
    registry.register(collector)
    write_to_textfile(str(file), registry)


# from a census to samples


def samples_of(found: Census) -> Samples:
    """The values of all series."""
    install = found.installation
    samples: Samples = {
        catalogue.INFO: {(__version__, install.environment, install.id): 1},
        catalogue.DATABASE_UP: {(): 1},
        catalogue.LAST_PASS: {(): _seconds(install.last_pass_at) or 0},
        catalogue.CREDENTIALS: _statuses(found.standings),
        catalogue.CONDITIONS: _conditions(found.standings),
        catalogue.WITHOUT_SERIES: {(): max(len(found.standings) - census.NAMED, 0)},
        catalogue.KEYS: {key: float(number) for key, number in found.keys.items()},
        catalogue.ORPHANS: {(kind,): found.orphans[kind] for kind in ("stranger", "condemned", "unmanaged")},
        catalogue.FIELDS: {(observed,): float(number) for observed, number in found.fields.items()},
        catalogue.FINDINGS: {
            (kind, str(urgent).lower()): float(number) for (kind, urgent), number in found.findings.items()
        },
        catalogue.HEAD: {(): found.head},
        catalogue.BEHIND: {(name,): float(number) for name, number in found.behind.items()},
        **_of_each(found.named),
        **_extremes(found.standings),
        **_counters(found),
    }
    if found.last_event_at is not None:
        samples[catalogue.HEAD_AT] = {(): found.last_event_at.timestamp()}
    if found.checkpoint is not None:
        samples[catalogue.CHECKPOINT] = {(): found.checkpoint.size}
        samples[catalogue.CHECKPOINT_AT] = {(): found.checkpoint.at.timestamp()}
    return samples


def _statuses(standings: Iterable[Standing]) -> dict[Labels, float]:
    return {key: float(number) for key, number in Counter((s.status, s.reason or "") for s in standings).items()}


def _conditions(standings: Iterable[Standing]) -> dict[Labels, float]:
    holding = Counter(condition for standing in standings for condition in standing.conditions)
    return {(status,): float(holding[status]) for status in STATUSES if status != "ok"}


def _of_each(named: Iterable[Standing]) -> Samples:
    samples: Samples = {catalogue.STATUS: {}, catalogue.CURRENT_KEY: {}, catalogue.OLDEST_KEY: {}}
    samples[catalogue.NEXT_ROTATION] = {}
    for standing in named:
        samples[catalogue.STATUS][standing.name, standing.provider, standing.status, standing.reason or ""] = 1
        for metric, moment in (
            (catalogue.CURRENT_KEY, standing.current_since),
            (catalogue.OLDEST_KEY, standing.oldest_since),
            (catalogue.NEXT_ROTATION, standing.next_rotation_at),
        ):
            if moment is not None:
                samples[metric][standing.name, standing.provider] = moment.timestamp()
    return samples


def _extremes(standings: Iterable[Standing]) -> Samples:
    """The earliest moments of all credentials, those without series of their own included."""
    current: dict[Labels, float] = {}
    living: dict[Labels, float] = {}
    following: dict[Labels, float] = {}
    for standing in standings:
        provider = (standing.provider,)
        for earliest, labels, moment in (
            (current, provider, standing.current_since),
            (living, provider, standing.oldest_since),
            (following, (), standing.next_rotation_at),
        ):
            if moment is not None:
                earliest[labels] = min(earliest.get(labels, float("inf")), moment.timestamp())
    return {catalogue.OLDEST_CURRENT: current, catalogue.OLDEST_LIVING: living, catalogue.NEXT: following}


def _counters(found: Census) -> Samples:
    """Sums since the database was set up. Those that are asked for by name begin at 0, so that an increase shows."""
    by_kind: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for (what, labels), value in found.counts.items():
        by_kind[what][labels] = value
    rotations: dict[Labels, float] = {
        (provider, result): 0
        for provider in {standing.provider for standing in found.standings}
        for result in (RotationState.COMPLETED.value, RotationState.ABANDONED.value)
    }
    for (provider, cause, state), value in by_kind["rotations"].items():
        result = "rehearsed" if cause == Cause.REHEARSAL else state
        rotations[provider, result] = rotations.get((provider, result), 0) + value
    seconds = {(*labels, "sum"): value for labels, value in by_kind["step_seconds"].items()}
    return {
        catalogue.ROTATIONS: rotations,
        catalogue.STEPS: by_kind["steps"] | seconds,
        catalogue.RETRIES: by_kind["retries"],
        catalogue.CALLS: by_kind["provider_calls"],
        catalogue.TAKEOVERS: {(): 0.0} | by_kind["lease_takeovers"],
        catalogue.EVENTS: by_kind["events"],
    }


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


# from samples to the library's families


def _family(metric: Metric, samples: Samples) -> Iterator[Family]:
    """The family of a metric; none where there is no series of it."""
    values = samples.get(metric)
    if not values:
        return
    if metric.kind == "info":
        info = InfoMetricFamily(metric.name, metric.help)
        for labels in values:
            info.add_metric([], dict(zip(metric.labels, labels, strict=True)))
        yield info
    elif metric.kind == "histogram":
        yield _histogram(metric, values)
    else:
        kind = GaugeMetricFamily if metric.kind == "gauge" else CounterMetricFamily
        family = kind(metric.name, metric.help, labels=metric.labels)
        for labels, value in sorted(values.items()):
            family.add_metric(labels, value)
        yield family


def _histogram(metric: Metric, values: Mapping[Labels, float]) -> Family:
    """From how many fell into each bucket alone to how many are below each bound."""
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for step in sorted({labels[0] for labels in values}):
        below, buckets = 0.0, []
        for bound in (*(f"{most:g}" for most in STEP_BUCKETS), "+Inf"):
            below += values.get((step, bound), 0)
            buckets.append((bound if bound == "+Inf" else f"{float(bound)}", below))
        family.add_metric([step], buckets, values.get((step, "sum"), 0))
    return family

"""From the policy keys of a file to the policy of one credential: merging, cron lines, and what excludes what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from rotator.config.entries import PolicyEntry
from rotator.config.models import Origin
from rotator.config.part import Part
from rotator.config.problems import did_you_mean, shown
from rotator.domain.policy import Policy
from rotator.ports.provider import Capabilities
from rotator.settings import format_duration

_HOUR = timedelta(hours=1)
_CRON_FIELDS = 5
_REFERENCE = datetime(2024, 1, 1, tzinfo=UTC)  # any will do; a fixed one judges a file alike on every day
_SLOTS = 400  # more than a year of daily slots, so that both clock changes are among them
_LAST_YEAR = 2100  # 29 February on a Sunday comes once in 28 years
_BUILT_IN = Policy()
_KEYS = tuple(key.name for key in fields(Policy) if key.name != "schedule")


@dataclass(frozen=True)
class CronSchedule:
    """A cron line in a time zone: five fields, Debian's rules, local times that a clock change skips come later."""

    expression: str
    zone: ZoneInfo

    def __post_init__(self) -> None:
        """Raises ValueError where the line is no cron line or names a date that never comes."""
        if len(self.expression.split()) != _CRON_FIELDS:
            message = "a cron line has five fields: minute, hour, day, month, weekday"
            raise ValueError(message)
        self.next_after(_REFERENCE)

    def next_after(self, moment: datetime) -> datetime:
        """The first slot later than `moment`, in UTC."""
        from cronsim import CronSim, CronSimError

        try:
            for slot in CronSim(self.expression, moment.astimezone(self.zone)):
                at: datetime = slot.astimezone(UTC)
                if at > moment:  # the hour that a clock change repeats may bring one from before
                    return at
        except CronSimError as problem:
            message = f"is not a cron line: {str(problem).lower()}"
            raise ValueError(message) from None
        except (AssertionError, ValueError, OverflowError):
            message = "is not a cron line"
            raise ValueError(message) from None
        message = "names a date that never comes"
        raise ValueError(message)


@lru_cache(maxsize=256)
def shortest_gap(schedule: CronSchedule) -> timedelta:
    """The shortest time between two of the next 400 slots; of lines that are rarer than that, until 2100."""
    slots = [schedule.next_after(_REFERENCE)]
    while len(slots) < _SLOTS and slots[-1].year < _LAST_YEAR:
        slots.append(schedule.next_after(slots[-1]))
    return min(later - earlier for earlier, later in pairwise(slots))


@dataclass(frozen=True)
class Layer:
    """The policy keys of one place: the defaults of the file, those of an included file, or the credential's own."""

    source: Literal["credential", "defaults"]
    part: Part
    entry: PolicyEntry  # without the keys that are wrong
    whole: bool  # none was wrong

    @classmethod
    def of(cls, source: Literal["credential", "defaults"], part: Part) -> Layer:
        """Read a `policy:`; problems with it are reported."""
        entry = part.read(PolicyEntry)
        whole = entry is not None
        entry = entry or part.read_rest(PolicyEntry) or PolicyEntry()
        if entry.cron is not None and entry.rotate_every is not None:
            part.report("excludes `rotate_every`: take one of them out", at=("cron",))
            whole = False
        return cls(source, part, entry, whole)


@dataclass
class Merged:
    """The values of all layers, key by key, and where each one is from."""

    values: dict[str, Any] = field(default_factory=lambda: {key: getattr(_BUILT_IN, key) for key in _KEYS})
    layers: dict[str, Layer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values["min_interval"] = None  # follows the period

    def add(self, layer: Layer) -> None:
        """Put a layer over those before it; `cron` and `rotate_every` replace each other."""
        given = layer.entry.model_fields_set
        if given & {"cron", "rotate_every"}:
            self._take_back("cron", "rotate_every")
        if "rotate_every" in given:
            self._take_back("timezone")
        for key in given:
            self.values[key] = getattr(layer.entry, key)
            self.layers[key] = layer

    def _take_back(self, *keys: str) -> None:
        for key in keys:
            self.values[key] = getattr(_BUILT_IN, key)
            self.layers.pop(key, None)

    def source(self, key: str) -> str:
        """`credential`, `defaults` or `built-in`."""
        return self.layers[key].source if key in self.layers else "built-in"

    def report(self, key: str, message: str, hint: str | None = None) -> None:
        """A problem with the value of a key, at the place that gave it."""
        self.layers[key].part.report(message, hint, at=(key,))

    def origins(self) -> dict[str, Origin]:
        """Policy key → where its value is from."""
        origins = dict.fromkeys(_KEYS, Origin(source="built-in"))
        for key, layer in self.layers.items():
            line = layer.part.document.line((*layer.part.path, key))
            origins[key] = Origin(source=layer.source, file=layer.part.document.name, line=line)
        return origins


def read_policy(
    part: Part, layers: Sequence[Layer], capabilities: Capabilities | None
) -> tuple[Policy, dict[str, Origin]] | None:
    """The policy of the credential whose `policy:` is `part`, or None after every problem was reported.

    `capabilities` are its provider's, None where they are not known because of an earlier problem.
    """
    before = len(part.problems)
    merged = Merged()
    for layer in layers:
        merged.add(layer)
    schedule = _schedule(merged)
    if not all(layer.whole for layer in layers):
        return None  # what a wrong value has to do with others cannot be told
    period = shortest_gap(schedule) if schedule else merged.values["rotate_every"]
    _idle_within_grace(merged)
    _intervals(merged, period)
    if capabilities is not None:
        _fits_provider(part, merged, period, capabilities)
    if len(part.problems) > before:
        return None
    return Policy(**merged.values, schedule=schedule), merged.origins()


def _schedule(merged: Merged) -> CronSchedule | None:
    cron, timezone = merged.values["cron"], merged.values["timezone"]
    if cron is None:
        if merged.source("timezone") == "credential":
            merged.report("timezone", "is for `cron`, and there is none")
        return None
    try:
        zone = ZoneInfo(timezone)
    except (OSError, ValueError, LookupError):
        meant = did_you_mean(timezone, available_timezones())
        merged.report("timezone", f"there is no time zone `{shown(timezone)}`; write one such as Europe/London", meant)
        zone = None
    try:
        schedule = CronSchedule(cron, zone or ZoneInfo("UTC"))
    except ValueError as problem:
        merged.report("cron", str(problem))
        return None
    return schedule if zone else None


def _idle_within_grace(merged: Merged) -> None:
    grace, idle = merged.values["grace"], merged.values["require_idle"]
    if idle <= grace:
        return
    source = merged.source("require_idle")
    if source == "built-in" or (source == "defaults" and merged.source("grace") == "credential"):
        merged.values["require_idle"] = grace
    else:
        merged.report("require_idle", f"must not be longer than grace, {format_duration(grace)}")


def _intervals(merged: Merged, period: timedelta | None) -> None:
    if merged.values["min_interval"] is None:
        merged.values["min_interval"] = max(_HOUR, (period or _HOUR) / 20)
    elif period and merged.values["min_interval"] > period:
        message = f"must not be longer than the time between two rotations, {format_duration(period)}"
        merged.report("min_interval", message)
    if period and merged.values["jitter"] >= period:
        message = f"must be shorter than the time between two rotations, {format_duration(period)}"
        merged.report("jitter", message)


def _fits_provider(part: Part, merged: Merged, period: timedelta | None, capabilities: Capabilities) -> None:
    if capabilities.living == 1 and not merged.values["allow_downtime"]:
        message = "the provider holds one key, so the old one dies before consumers have the new one"
        part.report(message, "write `allow_downtime: true` if that is meant")
    if capabilities.living != 2 or period is None:  # noqa: PLR2004 - two slots
        return
    settle = merged.values["settle"] if merged.values["settle"] is not None else capabilities.settle
    grace, soak = merged.values["grace"], merged.values["soak"]
    needed = grace + soak + settle + _HOUR
    if needed >= period:
        spans = f"grace {format_duration(grace)} + soak {format_duration(soak)} + settle {format_duration(settle)} + 1h"
        message = (
            f"{spans} = {format_duration(needed)} must be shorter than the time between two rotations, "
            f"{format_duration(period)}: the provider holds two keys"
        )
        part.report(message)

"""From the policy keys of a file to the policy of one credential."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo, available_timezones

from rotator.config import brownouts
from rotator.config.cron import REFERENCE, CronSchedule
from rotator.config.merging import Layer, Merged
from rotator.config.models import Origin
from rotator.config.part import Part
from rotator.config.problems import did_you_mean, shown
from rotator.config.readers import Lag
from rotator.config.times import Times
from rotator.domain.hours import Hours, Weekly
from rotator.domain.policy import Policy
from rotator.ports.provider import Capabilities

_ZONED = ("cron", "windows", "blackouts", "brownout")


def read_policy(
    part: Part,
    layers: Sequence[Layer],
    capabilities: Capabilities | None,
    *,
    waves: int = 1,
    lag: Lag | None = None,
    paired: bool = False,
) -> tuple[Policy, dict[str, Origin]] | None:
    """The policy of the credential whose `policy:` is `part`, or None after every problem was reported.

    `capabilities` are its provider's, None where they are not known because of an earlier problem; `waves` is how many
    its destinations make. Its grace is no shorter than the `lag` of its readers. `paired`: a place holds the old key
    beside the new one.
    """
    before = len(part.problems)
    merged = Merged()
    for layer in layers:
        merged.add(layer)
    if lag is not None:
        merged.lengthen_grace(lag)
    zone = _zone(merged)
    schedule, hours = _schedule(merged, zone), _hours(merged, zone)
    brownouts.read(merged, zone)
    if not all(layer.whole for layer in layers):
        return None  # what a wrong value has to do with others cannot be told
    Times(merged, schedule, capabilities, waves).check(part)
    brownouts.check(merged, capabilities, paired=paired)
    if len(part.problems) > before:
        return None
    return Policy(**merged.values, schedule=schedule, hours=hours, waves=waves), merged.origins()


def _zone(merged: Merged) -> ZoneInfo | None:
    """The zone of cron line, windows, blackouts and brownout; None where it is wrong."""
    timezone = merged.values["timezone"]
    if not any(merged.values[key] for key in _ZONED):
        if merged.source("timezone") == "credential":
            merged.report("timezone", "is for `cron`, `windows`, `blackouts` and `brownout`, and there is none")
        merged.take_back("timezone")
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(timezone)
    except (OSError, ValueError, LookupError):
        meant = did_you_mean(timezone, available_timezones())
        merged.report("timezone", f"there is no time zone `{shown(timezone)}`; write one such as Europe/London", meant)
        return None


def _hours(merged: Merged, zone: ZoneInfo | None) -> Hours:
    """Windows and blackouts. Those of the calendar pass; those of weekdays must leave some time."""
    windows, blackouts = merged.values["windows"], merged.values["blackouts"]
    weekly = tuple(span for span in blackouts if isinstance(span, Weekly))
    if Hours(windows, weekly).opens(REFERENCE) is None:
        merged.report("windows" if windows else "blackouts", "leave no time in which a rotation may begin")
    return Hours(windows, blackouts, zone or ZoneInfo("UTC"))


def _schedule(merged: Merged, zone: ZoneInfo | None) -> CronSchedule | None:
    cron = merged.values["cron"]
    if cron is None:
        return None
    try:
        schedule = CronSchedule(cron, zone or ZoneInfo("UTC"))
    except ValueError as problem:
        merged.report("cron", str(problem))
        return None
    return schedule if zone else None

"""`policy.brownout`: from the file to the domain, and back for the entry that the database keeps."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from rotator.config.cron import REFERENCE
from rotator.config.entries import BrownoutEntry
from rotator.config.merging import Merged
from rotator.domain.brownout import Brownout, fits
from rotator.domain.hours import Hours, Weekly
from rotator.domain.policy import DAY
from rotator.ports.provider import Capabilities
from rotator.settings import format_duration


def read(merged: Merged, zone: ZoneInfo | None) -> None:
    """Put what the policy wants in the place of what is written. Hours that leave it no room are reported."""
    entry = merged.values["brownout"]
    if not isinstance(entry, BrownoutEntry):
        return
    hours = tuple(entry.hours)
    weekly = tuple(span for span in merged.values["blackouts"] if isinstance(span, Weekly))
    if fits(Hours(hours, weekly), entry.lasts, REFERENCE, REFERENCE + 14 * DAY) is None:
        besides = ", beside the blackouts," if weekly else ""
        merged.report("brownout", f"its hours{besides} leave no {format_duration(entry.lasts)} in which it can be")
    found = Hours(hours, merged.values["blackouts"], zone or ZoneInfo("UTC"))
    merged.values["brownout"] = Brownout(after=entry.after, lasts=entry.lasts, hours=found)


def check(merged: Merged, capabilities: Capabilities | None, *, paired: bool) -> None:
    """Report one that cannot be. Where `defaults` alone asks for one that cannot, there is none.

    `paired`: a place holds the old key beside the new one.
    """
    found = merged.values["brownout"]
    if not isinstance(found, Brownout):
        return
    impossible = ""
    if capabilities is not None and not capabilities.can_disable:
        impossible = "the provider cannot disable a key, so it cannot enable it again"
    elif merged.values["allow_downtime"]:
        impossible = "excludes `allow_downtime`: the old key dies when the new one is made"
    elif paired:
        impossible = "excludes `mode: pair`: the old key is served beside the new one until it is taken away"
    if impossible and merged.source("brownout") == "defaults":
        merged.take_back("brownout")
        return
    if impossible:
        merged.report("brownout", impossible)
        return
    grace, needed = merged.values["grace"], found.after + found.lasts
    if needed >= grace:
        spelt = f"after {format_duration(found.after)} + for {format_duration(found.lasts)}"
        message = f"{spelt} = {format_duration(needed)} must be shorter than grace, {format_duration(grace)}"
        merged.report("brownout", message)


def written(brownout: Brownout) -> dict[str, Any]:
    """As it stands in a file."""
    after, lasts = format_duration(brownout.after), format_duration(brownout.lasts)
    return {"after": after, "for": lasts, "hours": [str(span) for span in brownout.hours.windows]}

"""`notify:`: which messages go where, and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field

from rotator.config.cron import CronSchedule
from rotator.config.entries import PositiveSpan, Span, Weeklies
from rotator.config.hooks import hook_class
from rotator.config.models import CredentialConfig, RouteConfig
from rotator.config.part import Entry, Part, known_keys
from rotator.config.problems import did_you_mean, shown
from rotator.config.selectors import selected_by
from rotator.domain.errors import SetupError
from rotator.domain.hours import Hours
from rotator.domain.notices import NAMES, Route, Severity
from rotator.notifiers import NOTIFIERS

_DEFAULT = Route(name="")
DIGESTS = {"daily": "0 9 * * *", "weekly": "0 9 * * MON"}
"""What a digest can be called instead of a cron line."""

SeverityWord = Literal["critical", "warning", "info"]


def _pattern(text: str) -> str:
    if not any(fnmatchcase(name, text) for name in NAMES):
        message = f"names no event: `{shown(text)}`; such are `drift.found`, `rotation.*`, `credential.blocked`"
        raise ValueError(message)
    return text


class QuietEntry(Entry):
    """`quiet:` of a route."""

    hours: Weeklies = Field(min_length=1)
    passes: SeverityWord = Field(default="critical", alias="except")


class RouteEntry(Entry):
    """An entry of `notify.routes:`, besides the way that its messages take."""

    severity: SeverityWord | None = None
    events: list[Annotated[str, AfterValidator(_pattern)]] | None = None
    credentials: list[Annotated[str, Field(min_length=1)]] | None = None
    select: str | None = None
    group_by: Literal["provider", "credential", "owner", "route"] = _DEFAULT.group_by
    group_wait: Span | None = None
    group_interval: Span | None = None
    repeat: Span | None = None
    resolved: bool = _DEFAULT.resolved
    quiet: QuietEntry | None = None
    digest: str | None = Field(default=None, max_length=200)
    timezone: str = Field(default="UTC", max_length=64)


class NotifyEntry(Entry):
    """`notify:`, who is told what."""

    group_wait: Span = _DEFAULT.group_wait
    group_interval: PositiveSpan = _DEFAULT.group_interval
    repeat: Span = _DEFAULT.repeat
    routes: dict[str, Any] | None = None


def read_notify(part: Part, credentials: Mapping[str, CredentialConfig]) -> dict[str, RouteConfig]:
    """The routes, by name; those with problems are reported and left out."""
    entry = part.read(NotifyEntry)
    found = {}
    for name, one in part.at("routes").named():
        route = _route(name, one, entry or NotifyEntry(), credentials)
        if route is not None:
            found[name] = route
    return found


def _route(
    name: str, part: Part, shared: NotifyEntry, credentials: Mapping[str, CredentialConfig]
) -> RouteConfig | None:
    before = len(part.problems)
    if not isinstance(part.data, dict):
        part.report("must be a mapping: where its messages go, and which")
        return None
    ways = [way for way in NOTIFIERS if way in part.data]
    if len(ways) != 1:
        known = ", ".join(f"`{way}`" for way in NOTIFIERS)
        part.report(f"names {'several ways' if ways else 'no way'}: it needs one of {known}")
        return None
    adapter = hook_class(NOTIFIERS[ways[0]])
    own, theirs = known_keys(RouteEntry), known_keys(adapter.Settings)
    part = part.entry(own | theirs)
    settings = part.picked(*theirs).read(adapter.Settings)
    entry = part.picked(*(key for key in part.data if key not in theirs)).read(RouteEntry)
    if entry is None or settings is None:
        return None
    zone = _zone(part, entry)
    when = _when(part, entry, shared, zone)
    reach = _reach(part, entry, credentials)
    if len(part.problems) > before:
        return None
    route = Route(
        name=name,
        severity=Severity(entry.severity or ("info" if entry.events or entry.digest else _DEFAULT.severity)),
        events=tuple(entry.events or ()),
        reach=reach,
        group_by=entry.group_by,
        resolved=entry.resolved,
        quiet=Hours(windows=tuple(entry.quiet.hours), zone=zone) if entry.quiet else None,
        passes=Severity(entry.quiet.passes) if entry.quiet else _DEFAULT.passes,
        **when,
    )
    return RouteConfig(route=route, settings=settings, adapter=adapter)


def _when(part: Part, entry: RouteEntry, shared: NotifyEntry, zone: ZoneInfo) -> dict[str, Any]:
    spans: dict[str, timedelta] = {}
    for key in ("group_wait", "group_interval", "repeat"):
        own = getattr(entry, key)
        spans[key] = getattr(shared, key) if own is None else own
    if spans["repeat"] and spans["repeat"] < spans["group_interval"]:
        part.report("must not be shorter than `group_interval`, or 0: nothing is said again", at=("repeat",))
    if entry.digest is None:
        return spans
    for key in ("quiet", "repeat", "group_by", "group_wait", "group_interval"):
        if key in part.data:
            part.report("is for single messages, and this route has a `digest`", at=(key,))
    try:
        return {**spans, "digest": CronSchedule(DIGESTS.get(entry.digest, entry.digest), zone)}
    except ValueError as problem:
        part.report(f"{problem}; or write daily or weekly", at=("digest",))
        return spans


def _zone(part: Part, entry: RouteEntry) -> ZoneInfo:
    try:
        return ZoneInfo(entry.timezone)
    except (OSError, ValueError, LookupError):
        meant = did_you_mean(entry.timezone, available_timezones())
        part.report(
            f"there is no time zone `{shown(entry.timezone)}`; write one such as Europe/London", meant, at=("timezone",)
        )
        return ZoneInfo("UTC")


def _reach(part: Part, entry: RouteEntry, credentials: Mapping[str, CredentialConfig]) -> Mapping[str, str] | None:
    """The credentials that the route is for → their providers; None: all there are, and will be."""
    if entry.credentials is None and entry.select is None:
        return None
    fits = None
    if entry.select is not None:
        try:
            fits = selected_by(entry.select)
        except SetupError as problem:
            part.report(problem.message, problem.remedy, at=("select",))
            return None
    return {
        name: credential.provider
        for name, credential in credentials.items()
        if (entry.credentials is None or any(fnmatchcase(name, pattern) for pattern in entry.credentials))
        and (fits is None or fits(credential.facts))
    }

"""What is odd about the use of keys: named checks, pure functions of what is on record, each with the figures it saw.

An anomaly holds as long as its check says so; nothing is remembered but the samples. Use is judged by credential, so
that a rotation does not begin its history anew; what only a key can be (current, retired) is judged by key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address, ip_network
from statistics import median

from rotator.domain.model import VersionState
from rotator.domain.usage import DAY, HOUR, MILLION, Change, Record, Sample, begin

WARM_UP = timedelta(days=28)
"""How long the use of a credential has to be on record before it is compared with what is usual."""

RECENT = timedelta(days=1)
"""How long ago use may be that is judged, and how long an anomaly of it holds after the last one."""

NEWS_LASTS = timedelta(days=7)
"""How long a new region, service or model is new, and a change at the provider is told."""

SLEEP = timedelta(days=45)
"""A key that nobody has used for as long is unused; one that is used after that has slept."""

SLACK = timedelta(minutes=2)
"""How far the provider's clock may be from ours."""

WEEKS = 8
SPREAD = 1.4826
"""The median absolute deviation, times this, estimates the standard deviation of what is normally distributed."""

DEVIATIONS = 8
FEWEST_REQUESTS = 100
LEAST_COST = MILLION


class Check(StrEnum):
    """The names of all checks."""

    NOT_CURRENT = "not_current"
    IN_RETIREMENT = "in_retirement"
    DISABLED_KEY = "disabled_key"
    WOKE = "woke"
    HIGH_RATE = "high_rate"
    HIGH_COST = "high_cost"
    NEW_REGION = "new_region"
    NEW_SERVICE = "new_service"
    NEW_MODEL = "new_model"
    UNUSUAL_HOURS = "unusual_hours"
    BUDGET = "budget"
    UNUSED = "unused"
    FOREIGN_CHANGE = "foreign_change"
    ELSEWHERE = "elsewhere"


MEANINGS: Mapping[Check, str] = {
    Check.NOT_CURRENT: "a key is used that nobody should read: one that never became current, or is gone",
    Check.IN_RETIREMENT: "a key was used after the grace of its retirement, of a leaked one: after the leak was known",
    Check.DISABLED_KEY: "a key was used after it had been disabled",
    Check.WOKE: f"the first use after none for {SLEEP.days} days",
    Check.HIGH_RATE: (
        f"an hour with more than `median + {DEVIATIONS} * {SPREAD} * MAD` requests of the same hour of the week and "
        f"its two neighbours in the last {WEEKS} weeks (MAD: at least a tenth of the median, and 1), at least "
        f"{FEWEST_REQUESTS}, and either more than 3 times the busiest hour of {WARM_UP.days} days, or, at an hour when "
        "it usually works, more than 10 times the most of those hours and half of the busiest one"
    ),
    Check.HIGH_COST: (
        f"a day that cost more than `median + {DEVIATIONS} * {SPREAD} * MAD` of the {WARM_UP.days} days before (MAD: "
        "at least a tenth of the median), more than twice the dearest of them, and at least 1 of the currency"
    ),
    Check.NEW_REGION: "used in a region for the first time",
    Check.NEW_SERVICE: "used for a service for the first time",
    Check.NEW_MODEL: "used for a model for the first time",
    Check.UNUSUAL_HOURS: (
        "used in an hour when, on such days (Monday to Friday, or the weekend), it never worked within two hours of "
        "it, by at least 10 requests and a twentieth of the busiest hour where they are counted"
    ),
    Check.BUDGET: "the calendar month (UTC) has cost more than the credential's `budget`",
    Check.UNUSED: f"nobody but us has used the current key for {SLEEP.days} days",
    Check.FOREIGN_CHANGE: (
        "the provider's audit log tells of keys or service accounts that somebody else made or changed"
    ),
    Check.ELSEWHERE: "used from an address outside of `allowed_ips`, where the provider tells addresses",
}
"""What each check finds, with its formula."""

WARMED_UP = frozenset({Check.HIGH_RATE, Check.HIGH_COST, Check.NEW_REGION, Check.NEW_SERVICE, Check.NEW_MODEL}) | {
    Check.UNUSUAL_HOURS
}
"""Those that compare with what is usual, and say nothing within WARM_UP."""


@dataclass(frozen=True, kw_only=True)
class KeyLife:
    """What is on record about one key."""

    key_id: str
    number: int
    state: VersionState
    made_at: datetime | None = None
    retiring_from: datetime | None = None  # when the grace of its open retirement ends, or ended
    disabled_at: datetime | None = None
    gone_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Use:
    """Everything that the checks are asked about."""

    now: datetime
    since: datetime  # from when on use is on record
    keys: Sequence[KeyLife]
    record: Record
    samples: Sequence[Sample] = ()  # the recent ones, for what each of them tells
    foreign: Sequence[Change] = ()  # what we did not cause
    networks: Sequence[str] | None = None
    budget: int | None = None  # a month, in millionths


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """What a check has found. `what` says it in words that stay the same while it holds; `seen` has the figures."""

    check: Check
    what: str
    seen: str
    about: str = ""  # tells several of one check apart: a key id, a region
    figures: Mapping[str, str | int] = field(default_factory=dict)
    key_id: str | None = None


def judge(use: Use) -> list[Anomaly]:
    """All that holds now."""
    return [anomaly for check in _CHECKS for anomaly in check(use)]


def stamp(moment: datetime) -> str:
    """`2026-11-26 09:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


# of keys


def _of_keys(use: Use) -> Iterator[Anomaly]:
    for key in use.keys:
        last = use.record.last.get(key.key_id)
        if last is None or last < use.now - RECENT:
            continue
        for check, since, how in _unwanted(key):
            if last > since + SLACK:
                yield Anomaly(
                    check=check,
                    about=key.key_id,
                    what=f"version {key.number} ({key.key_id}) was used {how}",
                    seen=f"last used {stamp(last)}, which is after {stamp(since)}",
                    figures={"last_used_at": last.isoformat(), "since": since.isoformat()},
                    key_id=key.key_id,
                )
                break


def _unwanted(key: KeyLife) -> Iterator[tuple[Check, datetime, str]]:
    """From when on a key should be used by nobody; what is worse comes first."""
    if key.gone_at is not None:
        yield Check.NOT_CURRENT, key.gone_at, "although it is gone"
    if key.disabled_at is not None and key.state is VersionState.DISABLED:
        yield Check.DISABLED_KEY, key.disabled_at, "after it had been disabled"
    if key.retiring_from is not None and key.state is not VersionState.CONDEMNED:
        yield Check.IN_RETIREMENT, key.retiring_from, "after the grace of its retirement"
    if key.state is VersionState.CONDEMNED and key.made_at is not None:
        yield Check.NOT_CURRENT, key.made_at, "although it never became current"


def _unused(use: Use) -> Iterator[Anomaly]:
    current = next((key for key in use.keys if key.state is VersionState.CURRENT), None)
    if current is None or current.made_at is None:
        return
    last = use.record.last.get(current.key_id)
    idle = use.now - (last or current.made_at)
    if idle > SLEEP:
        told = f"last used {stamp(last)}" if last else f"never used, made {stamp(current.made_at)}"
        yield Anomaly(
            check=Check.UNUSED,
            about=current.key_id,
            what=f"nobody uses version {current.number} ({current.key_id})",
            seen=f"{told}, {idle.days} days ago",
            figures={"days": idle.days},
            key_id=current.key_id,
        )


def _woke(use: Use) -> Iterator[Anomaly]:
    """The use that ended a sleep, as long as that is recent. Before the first use, it slept since its first key."""
    begins = [key.made_at for key in use.keys if key.made_at is not None]
    start = min([*begins, use.since], default=use.since)
    cut = use.now - RECENT
    before = max((at for at in use.record.uses if at < cut), default=start)
    woken = min((at for at in use.record.uses if at >= cut), default=None)
    if woken is not None and woken - before > SLEEP:
        yield Anomaly(
            check=Check.WOKE,
            what=f"it is used again after more than {SLEEP.days} days",
            seen=f"used {stamp(woken)}, {(woken - before).days} days after {stamp(before)}",
            figures={"days": (woken - before).days, "used_at": woken.isoformat()},
        )


# beside what is usual


def _rate(use: Use) -> Iterator[Anomaly]:
    hours = use.record.hours
    worst: tuple[int, datetime, float, int] | None = None
    for hour in _recent_hours(use.now):
        count = hours.get(hour, 0)
        if count < FEWEST_REQUESTS or hour - use.since < WARM_UP:
            continue
        usual = _same_hours(use, hour)
        limit = above(usual, least=1)
        if count <= limit:
            continue
        busiest = _busiest(hours, hour)
        at_work = median(usual) > 0  # else it is for `unusual_hours`
        far = count > 3 * busiest or (at_work and count > 10 * max(usual) and count > busiest / 2)
        if far and (worst is None or count > worst[0]):
            worst = count, hour, limit, busiest
    if worst is not None:
        count, hour, limit, busiest = worst
        yield Anomaly(
            check=Check.HIGH_RATE,
            what="it makes far more requests than is usual for it",
            seen=f"{count} in the hour from {stamp(hour)}, where {limit:.0f} are the limit of this hour of the week "
            f"and {busiest} were the most in {WARM_UP.days} days",
            figures={"requests": count, "hour": hour.isoformat(), "limit": round(limit), "busiest": busiest},
        )


def above(usual: Sequence[int], *, least: float) -> float:
    """`median + 8 * 1.4826 * MAD`; the MAD is a tenth of the median, and `least`, at least."""
    middle = median(usual)
    apart = median(abs(value - middle) for value in usual)
    return middle + DEVIATIONS * SPREAD * max(apart, middle / 10, least)


def _recent_hours(now: datetime) -> Iterator[datetime]:
    """Hours that have begun within RECENT."""
    hour = begin(now, HOUR)
    while hour > now - RECENT:
        yield hour
        hour -= HOUR


def _same_hours(use: Use, hour: datetime) -> list[int]:
    """Requests in this hour of the week, and its neighbours, in the weeks before, as far as they are on record."""
    found = [hour - timedelta(weeks=week) + HOUR * beside for week in range(1, WEEKS + 1) for beside in (-1, 0, 1)]
    return [use.record.hours.get(at, 0) for at in found if at >= use.since]


def _busiest(hours: Mapping[datetime, int], hour: datetime) -> int:
    """The most requests of an hour in the time before, today's own burst aside."""
    first = hour - WARM_UP
    last = hour - RECENT
    return max((count for at, count in hours.items() if first <= at <= last), default=0)


def _hours(use: Use) -> Iterator[Anomaly]:
    hours = use.record.hours
    if use.now - use.since < WARM_UP or not hours:
        return
    known = {(_weekend(at), at.hour) for at in hours if at <= use.now - RECENT}
    busiest: int | None = None
    for hour in _recent_hours(use.now):
        if hour not in hours or any((_weekend(hour), (hour.hour + beside) % 24) in known for beside in range(-2, 3)):
            continue
        if busiest is None:
            busiest = _busiest(hours, hour)
        count = hours[hour]
        if busiest and count < max(10, busiest / 20):
            continue  # where requests are counted, these are few
        yield Anomaly(
            check=Check.UNUSUAL_HOURS,
            what="it is used at hours at which it never worked",
            seen=f"{f'{count} requests' if count else 'used'} in the hour from {stamp(hour)}; on such days it has "
            f"worked in {len([h for day, h in known if day == _weekend(hour)])} of 24 hours",
            figures={"requests": count, "hour": hour.isoformat()},
        )
        return


def _weekend(at: datetime) -> bool:
    return at.weekday() >= _SATURDAY


_SATURDAY = 5

_NEW = {"region": Check.NEW_REGION, "service": Check.NEW_SERVICE, "model": Check.NEW_MODEL}


def _news(use: Use) -> Iterator[Anomaly]:
    for (kind, name), first in use.record.first.items():
        if first > use.now - NEWS_LASTS and first - use.since >= WARM_UP:
            others = sorted(other for what, other in use.record.first if what == kind and other != name)
            yield Anomaly(
                check=_NEW[kind],
                about=name,
                what=f"it is used {'in' if kind == 'region' else 'for'} the {kind} {name} for the first time",
                seen=f"in the bucket of {stamp(first)}, before: {', '.join(others[:5]) or 'none'}",
                figures={kind: name, "first_at": first.isoformat()},
            )


# money


def _cost(use: Use) -> Iterator[Anomaly]:
    costs, today = use.record.costs, begin(use.now, DAY)
    for day in (today, today - DAY):
        spent = costs.get(day, 0)
        if spent < LEAST_COST or day - use.since < WARM_UP:
            continue
        usual = [costs.get(day - DAY * back, 0) for back in range(2, WARM_UP.days + 2)]
        limit = above(usual, least=0)
        if spent > limit and spent > 2 * max(usual):
            yield Anomaly(
                check=Check.HIGH_COST,
                what="it costs far more than is usual for it",
                seen=f"{_money(spent, use)} on {day:%Y-%m-%d}, where {_money(round(limit), use)} are the limit and "
                f"{_money(max(usual), use)} were the most in {WARM_UP.days} days",
                figures={"cost": _money(spent, use), "day": f"{day:%Y-%m-%d}", "limit": _money(round(limit), use)},
            )
            return


def _budget(use: Use) -> Iterator[Anomaly]:
    if use.budget is None:
        return
    spent = sum(
        cost for day, cost in use.record.costs.items() if (day.year, day.month) == (use.now.year, use.now.month)
    )
    if spent > use.budget:
        yield Anomaly(
            check=Check.BUDGET,
            about=f"{use.now:%Y-%m}",
            what=f"it has passed its budget of {_money(use.budget, use)} for {use.now:%Y-%m}",
            seen=f"{_money(spent, use)} by {stamp(use.now)}",
            figures={"cost": _money(spent, use), "budget": _money(use.budget, use)},
        )


def _money(millionths: int, use: Use) -> str:
    return f"{millionths / MILLION:.2f} {use.record.currency.upper()}".strip()


# elsewhere


def _changes(use: Use) -> Iterator[Anomaly]:
    for change in use.foreign:
        if change.at > use.now - NEWS_LASTS:
            address = f" from {change.address}" if change.address else ""
            yield Anomaly(
                check=Check.FOREIGN_CHANGE,
                about=change.id,
                what=f"{change.by} did {change.what} on {change.about}{address}, which we did not",
                seen=f"at {stamp(change.at)}, by the provider's audit log",
                figures={"event": change.what, "about": change.about, "by": change.by, "at": change.at.isoformat()},
            )


def _addresses(use: Use) -> Iterator[Anomaly]:
    if use.networks is None:
        return
    allowed = [ip_network(network) for network in use.networks]
    for sample in use.samples:
        if not sample.used or not sample.address or sample.surely_at < use.now - RECENT:
            continue
        if not any(ip_address(sample.address) in network for network in allowed):
            yield Anomaly(
                check=Check.ELSEWHERE,
                about=sample.address,
                what=f"{sample.key_id} was used from {sample.address}, which is outside of `allowed_ips`",
                seen=f"last {stamp(sample.surely_at)}; allowed are {', '.join(use.networks)}",
                figures={"address": sample.address, "at": sample.surely_at.isoformat()},
                key_id=sample.key_id,
            )


_CHECKS: tuple[Callable[[Use], Iterator[Anomaly]], ...] = (
    _of_keys,
    _unused,
    _woke,
    _rate,
    _hours,
    _news,
    _cost,
    _budget,
    _changes,
    _addresses,
)

"""Messages: notices in words, what, where, why and what to do next. They hold public facts alone, never a secret."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rotator.domain.notices import Notice, Outgoing, Severity, State

MOST = 1000
"""How many notices a message holds. What is more follows at once, in the next one."""

_KINDS_SHOWN = 20  # of a message's notices, in its text; the JSON has all
_NAMES_SHOWN = 5
_LINE = 600  # characters: receivers cut, or refuse, what is too long


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a receiver is given: text for people, and the same as JSON."""

    id: str  # the same content has the same id, however often it is sent
    at: datetime
    environment: str
    route: str
    kind: Literal["notices", "digest", "test"]
    severity: Severity
    title: str
    text: str
    notices: Sequence[Mapping[str, Any]] = ()

    def as_json(self) -> dict[str, Any]:
        """The body of a webhook (docs/schemas/notification.schema.json)."""
        return {
            "id": self.id,
            "at": _stamp(self.at),
            "environment": self.environment,
            "route": self.route,
            "kind": self.kind,
            "severity": self.severity.value,
            "title": self.title,
            "text": self.text,
            "notices": list(self.notices),
        }


def of_notices(environment: str, rows: Sequence[Outgoing], now: datetime) -> Message:
    """One message about one group of a route's rows, which are in order and not none."""
    notices = [_as_json(row) for row in rows]
    return Message(
        id=_digest(environment, rows[0].route, *(notice["id"] for notice in notices)),
        at=now,
        environment=environment,
        route=rows[0].route,
        kind="notices",
        severity=worst(row.notice.severity for row in rows),
        title=f"[{environment}] {_title(rows)}",
        text="\n\n".join(_paragraphs(rows)),
        notices=notices,
    )


def of_digest(
    environment: str, route: str, rows: Sequence[Outgoing], since: datetime, now: datetime, counts: Mapping[str, int]
) -> Message:
    """What stands, and what has happened since the last one. `counts`: how many credentials have which status."""
    notices = [_as_json(row) for row in rows]
    stands = [row for row in rows if row.notice.lasts and row.state in (State.NEW, State.TOLD)]
    fleet = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items()) or "none"
    head = f"Credentials: {fleet}.\n{_stamp(since)} to {_stamp(now)}: {_many(len(rows) - len(stands), 'notice')}."
    stand = f"{_many(len(stands), 'problem')} standing" if stands else "nothing stands"
    return Message(
        id=_digest(environment, route, _stamp(since), *(notice["id"] for notice in notices)),
        at=now,
        environment=environment,
        route=route,
        kind="digest",
        severity=worst(row.notice.severity for row in stands),
        title=f"[{environment}] digest: {stand}, {sum(counts.values())} credentials",
        text="\n\n".join([head, *_paragraphs([*stands, *(row for row in rows if row not in stands)])]),
        notices=notices,
    )


def of_test(environment: str, route: str, actor: str, now: datetime) -> Message:
    """Shows that a route works."""
    return Message(
        id=_digest(environment, route, "test", _stamp(now)),
        at=now,
        environment=environment,
        route=route,
        kind="test",
        severity=Severity.INFO,
        title=f"[{environment}] test of the route {route}",
        text=f"{actor} has asked for this test. Nothing is wrong, and there is nothing to do.",
    )


def worst(severities: Iterable[Severity]) -> Severity:
    """The most severe; INFO of none."""
    return min(severities, key=list(Severity).index, default=Severity.INFO)


# words


def _word(row: Outgoing) -> str:
    if row.notice.lasts:
        return {State.TOLD: "still", State.OVER: "resolved", State.PASSED: "came and went"}.get(row.state, "new")
    return "came and went" if row.state is State.PASSED else "happened"


def _title(rows: Sequence[Outgoing]) -> str:
    counts = Counter(_word(row) for row in rows)
    if len(rows) == 1:
        notice = rows[0].notice
        about = notice.credential or notice.provider or "the installation"
        return f"{_word(rows[0])}: {about}: {_what(notice)}"
    places = dict.fromkeys(row.notice.credential for row in rows if row.notice.credential)
    providers = dict.fromkeys(row.notice.provider for row in rows if row.notice.provider)
    about = next(iter(places)) if len(places) == 1 else _many(len(places), "credential") if places else ""
    at = f" at {', '.join(providers)}" if providers and len(providers) <= _NAMES_SHOWN else ""
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{said}: {about}{at}" if about or at else said


def _what(notice: Notice) -> str:
    """`drift`, `blocked`, `rotation succeeded`: the event without what the state says already."""
    subject, _, outcome = notice.event.partition(".")
    words = outcome if subject == "credential" else subject if outcome == "found" else f"{subject} {outcome}"
    return words.replace("_", " ")


def _paragraphs(rows: Sequence[Outgoing]) -> list[str]:
    """One for each kind of notice: five hundred credentials with one trouble are one paragraph."""
    kinds: dict[tuple[str, ...], list[Outgoing]] = {}
    for row in rows:
        kinds.setdefault((_word(row), row.notice.severity, row.notice.event, row.notice.reason or ""), []).append(row)
    shown = [_paragraph(alike) for alike in list(kinds.values())[:_KINDS_SHOWN]]
    left = sum(len(alike) for alike in list(kinds.values())[_KINDS_SHOWN:])
    return shown + ([f"And {_many(left, 'notice')} more: `rotator status`, `rotator audit log`."] if left else [])


def _paragraph(alike: Sequence[Outgoing]) -> str:
    first, notice = alike[0], alike[0].notice
    names = list(dict.fromkeys(row.notice.credential or row.notice.provider or "the installation" for row in alike))
    about = names[0]
    if len(names) > 1:
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        about = f"{len(names)} credentials ({', '.join(names[:_NAMES_SHOWN])}{more})"
    times = sum(row.times for row in alike)
    often = f", {times} times" if times > len(alike) else ""
    lines = [f"{_word(first).upper()} ({notice.severity}) {about}: {_what(notice)}{often}"]
    instance = f"{names[0]}: " if len(names) > 1 else ""
    where = f"{notice.destination}: " if notice.destination and notice.destination not in notice.message else ""
    lines.append(f"Why: {instance}{where}{notice.message}" + (f" ({notice.reason})" if notice.reason else ""))
    lines.append(
        f"Since: {_stamp(notice.since)}" + (f" until {_stamp(first.changed_at)}" if first.state is State.OVER else "")
    )
    if notice.remedy and not _is_over(first):
        lines.append(f"To do: {instance}{notice.remedy}")
    elif not _is_over(first) and notice.lasts and notice.credential:
        lines.append(f"To do: `rotator explain {names[0]}`")
    whose = {"Owner": [row.notice.owner for row in alike], "Runbook": [row.notice.runbook for row in alike]}
    for word, texts in whose.items():
        known = list(dict.fromkeys(text for text in texts if text))[:_NAMES_SHOWN]
        if known:
            lines.append(f"{word}: {', '.join(known)}")
    return "\n".join(line if len(line) <= _LINE else f"{line[: _LINE - 1]}…" for line in lines)


def _is_over(row: Outgoing) -> bool:
    return row.notice.lasts and row.state in (State.OVER, State.PASSED)


def _as_json(row: Outgoing) -> dict[str, Any]:
    notice = row.notice
    return {
        "id": _digest(row.route, notice.key, row.state, _stamp(notice.since), _stamp(row.changed_at)),
        "state": _word(row),
        "key": notice.key,
        "event": notice.event,
        "severity": notice.severity.value,
        "credential": notice.credential,
        "provider": notice.provider,
        "destination": notice.destination,
        "reason": notice.reason,
        "message": notice.message,
        "remedy": notice.remedy,
        "owner": notice.owner,
        "labels": dict(notice.labels),
        "runbook": notice.runbook,
        "since": _stamp(notice.since),
        "until": _stamp(row.changed_at) if row.state is State.OVER else None,
        "times": max(row.times, 1),
        "seq": notice.seq,
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _many(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

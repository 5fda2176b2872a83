"""An event of the trail in the formats that security tools read. Each line stands alone, and none holds a secret.

`json` is the trail itself: what `rotator audit verify` checks. The others are the same facts in others' words, with
the event's `seq` and `hash`, so that it can be found in the trail; they cannot be verified by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rotator import __version__
from rotator.domain.events import Outcome, Subject
from rotator.ports.store import StoredEvent

Json = Mapping[str, Any]

PRODUCT = "keyturn"


@dataclass(frozen=True)
class Origin:
    """Where the events come from: the installation's environment, and the host that sends them."""

    environment: str
    host: str


def export_line(event: StoredEvent) -> str:
    """The stored body with its `hash` added: a line of `rotator audit export`."""
    return f'{event.body[:-1]},"hash":"{event.hash}"}}'


def event_of(event: StoredEvent) -> Json:
    """An event's fields, `hash` among them."""
    return {**json.loads(event.body), "hash": event.hash}


_FAILED = (Outcome.FAILED, Outcome.BLOCKED, Outcome.DELAYED)


def _outcome(fields: Json) -> str:
    return str(fields["event"]).rpartition(".")[2]


def _subject(fields: Json) -> str:
    return str(fields["event"]).rpartition(".")[0]


def _moment(fields: Json) -> datetime:
    return datetime.fromisoformat(fields["at"]).astimezone(UTC)


def _milliseconds(fields: Json) -> int:
    at = _moment(fields)
    return int(at.timestamp()) * 1000 + at.microsecond // 1000


def message(fields: Json) -> str:
    """One line for people."""
    about = [str(fields[key]) for key in ("credential", "key_id", "destination") if fields[key]]
    why = fields["detail"].get("message") or fields["reason"]
    return f"{fields['event']}{' ' if about else ''}{' '.join(about)}{f': {why}' if why else ''}"


# OCSF 1.1.0, https://schema.ocsf.io/1.1.0/classes/entity_management and …/api_activity

_OCSF = "1.1.0"
_ENTITY_MANAGEMENT, _API_ACTIVITY = 3004, 6003
_CREATE, _READ, _UPDATE, _DELETE = range(1, 5)
_ACTIVITIES = {_CREATE: "Create", _READ: "Read", _UPDATE: "Update", _DELETE: "Delete"}
_CALLS: Mapping[str, int] = {  # steps that are a request to the provider
    Subject.CREATE: _CREATE,
    Subject.AUTHENTICATE: _READ,
    Subject.DISABLE: _UPDATE,
    Subject.ENABLE: _UPDATE,
    Subject.BROWNOUT: _UPDATE,
    Subject.RESTORE: _UPDATE,
    Subject.DELETE: _DELETE,
}
_LIFE: Mapping[str, int] = {  # of the managed credential; all else changes it
    Subject.ENROLL: _CREATE,
    Subject.ADOPT: _CREATE,
    Subject.UNMANAGE: _DELETE,
    Subject.VERIFY: _READ,
    Subject.PROBE: _READ,
    Subject.SEEN: _READ,
}


def _severity(outcome: str) -> Json:
    if outcome in (Outcome.BLOCKED, Outcome.FAILED, Outcome.FOUND):
        return {"severity_id": 3, "severity": "Medium"}
    if outcome == Outcome.DELAYED:
        return {"severity_id": 2, "severity": "Low"}
    return {"severity_id": 1, "severity": "Informational"}


def ocsf(fields: Json, origin: Origin) -> Json:
    """API Activity for what is asked of a provider, Entity Management for all else."""
    subject, outcome = _subject(fields), _outcome(fields)
    called = subject in _CALLS and outcome not in (Outcome.FOUND, Outcome.CLEARED)
    kind = _API_ACTIVITY if called else _ENTITY_MANAGEMENT
    found = outcome in (Outcome.FOUND, Outcome.CLEARED)
    activity = _CALLS[subject] if called else _READ if found else _LIFE.get(subject, _UPDATE)
    failed, done = outcome in _FAILED, outcome in (Outcome.SUCCEEDED, Outcome.CLEARED)
    entity = {
        "name": fields["credential"] or origin.environment,
        "type": "credential" if fields["credential"] else "installation",
        **({"uid": fields["key_id"]} if fields["key_id"] else {}),
        **({"version": str(fields["version"])} if fields["version"] is not None else {}),
    }
    shared: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": _ACTIVITIES[activity],
        "category_uid": kind // 1000,
        "category_name": "Application Activity" if called else "Identity & Access Management",
        "class_uid": kind,
        "class_name": "API Activity" if called else "Entity Management",
        "type_uid": kind * 100 + activity,
        "type_name": f"{'API Activity' if called else 'Entity Management'}: {_ACTIVITIES[activity]}",
        "time": _milliseconds(fields),
        **_severity(outcome),
        "status_id": 2 if failed else 1 if done else 0,
        "status": "Failure" if failed else "Success" if done else "Unknown",
        "message": message(fields),
        "metadata": {
            "version": _OCSF,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": __version__},
            "uid": fields["hash"],
            "sequence": fields["seq"],
            "log_name": "audit",
            "event_code": fields["event"],
            **({"correlation_uid": fields["rotation"]} if fields["rotation"] else {}),
        },
        "actor": {"user": {"name": fields["actor"]}, "app_name": "rotator"},
        **({"status_code": fields["reason"]} if fields["reason"] else {}),
        "unmapped": {key: fields[key] for key in ("attempt", "destination", "detail", "previous_hash") if fields[key]},
    }
    if called:
        return {
            **shared,
            "api": {"operation": subject},
            "src_endpoint": {"hostname": origin.host},
            "resources": [entity],
        }
    return {**shared, "entity": entity}


# ECS 8.11, https://www.elastic.co/guide/en/ecs/8.11/ecs-field-reference.html

_ECS_TYPES = {_CREATE: "creation", _READ: "info", _UPDATE: "change", _DELETE: "deletion"}


def ecs(fields: Json, origin: Origin) -> Json:
    """Event, user, service and host fields; what ECS has no field for stands under `keyturn`, a name of our own."""
    subject, outcome = _subject(fields), _outcome(fields)
    found = outcome in (Outcome.FOUND, Outcome.CLEARED)
    activity = _READ if found else _CALLS.get(subject, _LIFE.get(subject, _UPDATE))
    known = {Outcome.SUCCEEDED: "success", Outcome.CLEARED: "success", **dict.fromkeys(_FAILED, "failure")}
    ours = ("credential", "rotation", "version", "key_id", "destination", "attempt", "detail", "previous_hash")
    return {
        "@timestamp": fields["at"],
        "ecs": {"version": "8.11.0"},
        "event": {
            "kind": "event",
            "category": ["iam"],
            "type": [_ECS_TYPES[activity]],
            "action": fields["event"],
            "outcome": known.get(Outcome(outcome), "unknown"),
            "sequence": fields["seq"],
            "id": str(fields["seq"]),
            "hash": fields["hash"],
            "module": PRODUCT,
            "dataset": f"{PRODUCT}.audit",
            "provider": "rotator",
            **({"reason": fields["reason"]} if fields["reason"] else {}),
        },
        "message": message(fields),
        "user": {"name": fields["actor"]},
        "host": {"name": origin.host},
        "service": {"name": "rotator", "type": PRODUCT, "version": __version__, "environment": origin.environment},
        PRODUCT: {key: fields[key] for key in ours if fields[key] is not None},
    }


# CEF version 0, "Implementing ArcSight Common Event Format (CEF)", revision 25: a header of seven fields, then
# key=value pairs from its dictionary. Custom strings carry their meaning in a label.


_CEF_MOST = {"act": 63, "dvchost": 100, "msg": 1023, "outcome": 63, "reason": 1023, "suser": 1023}
_CEF_CUSTOM = 4000
"""The most characters of a value."""


def cef(fields: Json, origin: Origin) -> str:
    """One line of the Common Event Format."""
    outcome = _outcome(fields)
    failed = outcome in _FAILED
    severity = 6 if outcome in (Outcome.BLOCKED, Outcome.FAILED, Outcome.FOUND) else 4 if failed else 2
    head = ("CEF:0", PRODUCT, "rotator", __version__, fields["event"], str(fields["event"]).replace(".", " "))
    pairs: dict[str, Any] = {
        "rt": _milliseconds(fields),
        "externalId": fields["seq"],
        "dvchost": origin.host,
        "suser": fields["actor"],
        "act": fields["event"],
        "outcome": outcome,
        "reason": fields["reason"],
        "msg": message(fields),
        **_custom("cs1", "credential", fields["credential"]),
        **_custom("cs2", "keyId", fields["key_id"]),
        **_custom("cs3", "rotation", fields["rotation"]),
        **_custom("cs4", "destination", fields["destination"]),
        **_custom("cs5", "hash", fields["hash"]),
        **_custom("cs6", "environment", origin.environment),
        **_custom("cn1", "version", fields["version"]),
        **_custom("cn2", "attempt", fields["attempt"]),
    }
    known = {key: str(value)[: _CEF_MOST.get(key, _CEF_CUSTOM)] for key, value in pairs.items() if value is not None}
    shown = (f"{key}={_cef_value(value)}" for key, value in known.items())
    return "|".join([*(head[:1]), *(_cef_head(str(part)) for part in head[1:]), str(severity), " ".join(shown)])


def _custom(field: str, label: str, value: object) -> dict[str, Any]:
    return {} if value is None else {field: value, f"{field}Label": label}


def _cef_head(text: str) -> str:
    """Backslashes and pipes are escaped; a header holds no line breaks."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").splitlines())


def _cef_value(text: str) -> str:
    """Backslashes and equal signs are escaped, and line breaks are written as a backslash and a letter."""
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")


def _line(fields: Json) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


FORMATS: Mapping[str, Callable[[StoredEvent, Origin], str]] = {
    "json": lambda event, _: export_line(event),
    "ocsf": lambda event, origin: _line(ocsf(event_of(event), origin)),
    "ecs": lambda event, origin: _line(ecs(event_of(event), origin)),
    "cef": lambda event, origin: cef(event_of(event), origin),
}
"""Format → what makes a line of an event, without its end."""

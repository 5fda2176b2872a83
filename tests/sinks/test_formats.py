"""The other formats, each event of every kind, against what their specifications demand."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.access.formats import FORMATS
from rotator.domain.events import Outcome, Subject
from rotator.ports.store import NewEvent, StoredEvent
from rotator.verifier.trail import CHECKPOINT, verify_lines
from tests.sinks.conftest import ORIGIN, Trail

ODD = 'a|b=c\\d\n"é\u2028'


@pytest.fixture(scope="module")
def events() -> list[StoredEvent]:
    """Of every name there may be; with everything in it, and with nothing."""
    store = Trail().store
    for subject in Subject:
        for outcome in Outcome:
            name = f"{subject}.{outcome}"
            if name == CHECKPOINT:
                continue  # cannot be made up: it is signed
            store.note([NewEvent(event=name, actor="cli:ann@test")])
            store.note(
                [
                    NewEvent(
                        event=name,
                        actor=ODD,
                        credential="web",
                        rotation="r-1",
                        version=3,
                        key_id="key_abc",
                        destination="vault",
                        attempt=2,
                        reason="slot_full",
                        detail={"message": ODD, "n": [1, {"x": None}]},
                    )
                ]
            )
    return list(store.events())


def rendered(events: list[StoredEvent], name: str) -> list[str]:
    lines = [FORMATS[name](event, ORIGIN) for event in events]
    assert all(line.splitlines() == [line] or "\u2028" in line for line in lines)
    assert all("\n" not in line and "\r" not in line for line in lines)
    return lines


# OCSF 1.1.0: what a class demands, and the numbers it knows (events/base_event.json, includes/classification.json,
# includes/occurrence.json, events/iam/entity_management.json, events/application/api_activity.json, objects/*.json).
_BASE = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLASSES = {3004: (3, {"entity"}), 6003: (6, {"actor", "api", "src_endpoint"})}
_ACTIVITIES = {0: "Unknown", 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: "Other"}
_SEVERITIES = {0: "Unknown", 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical", 6: "Fatal"}
_STATUSES = {0: "Unknown", 1: "Success", 2: "Failure"}
_KNOWN = {
    *_BASE, "activity_name", "category_name", "class_name", "type_name", "severity", "status", "status_id",
    "status_code", "message", "actor", "api", "src_endpoint", "resources", "entity", "unmapped",
}  # fmt: skip


def test_every_event_is_one_of_ocsf(events: list[StoredEvent]) -> None:
    for event, line in zip(events, rendered(events, "ocsf"), strict=True):
        made: dict[str, Any] = json.loads(line)
        category, needs = _CLASSES[made["class_uid"]]
        assert made.keys() <= _KNOWN
        assert made.keys() >= _BASE | needs
        assert made["category_uid"] == category
        assert made["type_uid"] == made["class_uid"] * 100 + made["activity_id"]
        assert made["activity_name"] == _ACTIVITIES[made["activity_id"]]
        assert made["severity"] == _SEVERITIES[made["severity_id"]]
        assert made["status"] == _STATUSES[made["status_id"]]
        body = json.loads(event.body)
        assert made["time"] == (datetime.fromisoformat(body["at"]) - EPOCH) // timedelta(milliseconds=1)
        metadata = made["metadata"]
        assert {"version", "product"} <= metadata.keys()
        assert {"name", "vendor_name"} <= metadata["product"].keys()
        assert (metadata["sequence"], metadata["uid"], metadata["event_code"]) == (event.seq, event.hash, body["event"])
        if made["class_uid"] == 6003:
            assert made["api"]["operation"]
            assert made["src_endpoint"]["hostname"] == "rotator-1"
        else:
            assert made["entity"]["name"]
        assert made["actor"]["user"]["name"] == body["actor"]


@pytest.mark.parametrize(
    ("event", "kind", "activity", "status"),
    [
        ("create.succeeded", 6003, 1, 1),
        ("delete.started", 6003, 4, 0),
        ("disable.blocked", 6003, 3, 2),
        ("enroll.succeeded", 3004, 1, 1),
        ("unmanage.succeeded", 3004, 4, 1),
        ("promote.succeeded", 3004, 3, 1),
        ("stranger.found", 3004, 2, 0),
        ("brownout.found", 3004, 2, 0),
    ],
)
def test_what_is_what_in_ocsf(trail: Trail, event: str, kind: int, activity: int, status: int) -> None:
    made = json.loads(FORMATS["ocsf"](trail.happen(event=event)[0], ORIGIN))
    assert (made["class_uid"], made["activity_id"], made["status_id"]) == (kind, activity, status)


# ECS 8.11: the fields that are used, with the values that its reference allows.
_ECS = {
    "event.kind": {"event"},
    "event.outcome": {"success", "failure", "unknown"},
}
_ECS_IAM_TYPES = {"admin", "change", "creation", "deletion", "group", "info", "user"}
_ECS_FIELDS = {
    "@timestamp", "message", "ecs.version", "event.action", "event.category", "event.dataset", "event.hash", "event.id",
    "event.kind", "event.module", "event.outcome", "event.provider", "event.reason", "event.sequence", "event.type",
    "host.name", "service.environment", "service.name", "service.type", "service.version", "user.name",
}  # fmt: skip


def test_every_event_is_one_of_ecs(events: list[StoredEvent]) -> None:
    for event, line in zip(events, rendered(events, "ecs"), strict=True):
        made = json.loads(line)
        ours = made.pop("keyturn")
        flat: dict[str, Any] = {}
        for name, value in made.items():
            flat |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        assert flat.keys() <= _ECS_FIELDS
        assert all(flat[name] in allowed for name, allowed in _ECS.items())
        assert flat["event.category"] == ["iam"]
        assert set(flat["event.type"]) <= _ECS_IAM_TYPES
        assert (flat["event.sequence"], flat["event.hash"]) == (event.seq, event.hash)
        assert flat["@timestamp"] == json.loads(event.body)["at"]
        assert ours["detail"] == json.loads(event.body)["detail"]


# CEF 0, revision 25: keys of its dictionary, with the most characters that each takes.
_CEF_KEYS = {
    "rt": 13, "externalId": 40, "dvchost": 100, "suser": 1023, "act": 63, "outcome": 63, "reason": 1023, "msg": 1023,
    "cn1": 20, "cn1Label": 1023, "cn2": 20, "cn2Label": 1023,
    **{f"cs{n}": 4000 for n in range(1, 7)}, **{f"cs{n}Label": 1023 for n in range(1, 7)},
}  # fmt: skip


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """A reader of our own, by the document's rules of escaping."""
    *head, rest = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    pairs = re.findall(r"(\w+)=((?:\\.|[^\\=])*)(?= \w+=|$)", rest)
    assert " ".join(f"{key}={value}" for key, value in pairs) == rest
    plain = {"\\n": "\n", "\\r": "\r", "\\\\": "\\", "\\=": "="}
    return head, {key: re.sub(r"\\.", lambda found: plain[found[0]], value) for key, value in pairs}


def test_every_event_is_one_of_cef(events: list[StoredEvent]) -> None:
    for event, line in zip(events, rendered(events, "cef"), strict=True):
        head, pairs = read_cef(line)
        body = json.loads(event.body)
        assert head[:3] == ["CEF:0", "keyturn", "rotator"]
        assert (len(head), head[4]) == (7, body["event"])
        assert 0 <= int(head[6]) <= 10
        assert pairs.keys() <= _CEF_KEYS.keys()
        assert all(len(value) <= _CEF_KEYS[key] for key, value in pairs.items())
        assert (pairs["externalId"], pairs["suser"], pairs["cs5"]) == (str(event.seq), body["actor"], event.hash)
        assert all(f"{key}Label" in pairs for key in pairs if re.fullmatch(r"c[ns]\d", key))
        if body["detail"]:
            assert pairs["msg"].endswith(ODD)


def test_what_is_long_is_cut_for_cef(trail: Trail) -> None:
    (event,) = trail.happen(detail={"message": "=" * 5000}, actor="x" * 3000)
    _, pairs = read_cef(FORMATS["cef"](event, ORIGIN))
    assert (len(pairs["msg"]), len(pairs["suser"])) == (1023, 1023)


def test_json_is_the_trail_itself(events: list[StoredEvent]) -> None:
    found = verify_lines(rendered(events, "json"))
    assert (found.count, found.problem) == (len(events), None)

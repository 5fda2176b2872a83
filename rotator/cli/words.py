"""Sentences and cells: what the rows say, as a person reads it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rotator import logs
from rotator.domain.model import Lease

Entry = Mapping[str, Any]
"""One of `credentials` in the shape of `status --json`."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_ROUGH = 3  # from so many of a unit on, a person does not want the smaller one


def age(seconds: float) -> str:
    """`40s`, `12m`, `5h`, `12d`."""
    for unit, size in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE)):
        if seconds >= _ROUGH * size or (unit == "d" and seconds >= _DAY):
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def moment(stamp: str | None) -> str:
    """`2026-11-24 09:00 UTC`, or `-`."""
    return stamp[:16].replace("T", " ") + " UTC" if stamp else "-"


def clock(at: datetime) -> str:
    """`12:03:04 UTC`."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"


def key(version: Mapping[str, Any]) -> str:
    """`version 3 (key_abc)`."""
    return f"version {version['version']} ({version['key_id'] or 'id not known'})"


def holder(lease: Lease) -> str:
    """Who has a lease, and until when."""
    try:
        who = json.loads(lease.holder)
        process = f"process {who['pid']} on {who['host']}"
    except (ValueError, KeyError, TypeError):
        process = "somebody"
    return f"{process}, until {clock(lease.until)} at the latest"


def is_ours(lease: Lease) -> bool:
    """Whether this very process has it: a call over its budget keeps the lease until it has expired."""
    try:
        who = json.loads(lease.holder)
        return bool(who["pid"] == os.getpid() and who["host"] == socket.gethostname())
    except (ValueError, KeyError, TypeError):
        return False


def old_key(version: Mapping[str, Any], *, can_disable: bool) -> str:
    """What becomes of a key that is not the current one."""
    at = f"not before {moment(version['not_before'])}" if version["not_before"] else "at the next pass"
    match version["step"]:
        case "drain":
            then = "is disabled then, and deleted after its soak" if can_disable else "is deleted then"
            return f"the old key, {key(version)}, works on and {then}: {at}"
        case "disable":
            return f"the old key, {key(version)}, is about to be disabled: {at}"
        case "enable":
            return f"{key(version)} is on its way back: {at}"
        case "delete":
            return f"the old key, {key(version)}, is {version['state']} and will be deleted: {at}"
    return f"{key(version)} is {version['state']}"


def event_line(body: Mapping[str, Any], address: str | None = None) -> str:
    """`12:03:04 openai-web push.succeeded vault:secret/web/openai version 3`."""
    return f"{body['at'][11:19]} {logs.event_line(body, address)}"


def places(entry: Entry) -> str:
    """`vault current, web previous`; each name once where they all say the same."""
    states = [(row["to"], row["state"]) for row in entry["destinations"]]
    return ", ".join(dict.fromkeys(f"{to} {state}" for to, state in states))

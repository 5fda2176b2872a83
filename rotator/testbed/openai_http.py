"""What the OpenAI emulator says in the API's own shapes: refusals and pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from rotator.testbed.listener import Json, Refusal, Request

_LARGEST_PAGE = 100


def refuse(status: int, message: str, code: str | None = None, kind: str = "invalid_request_error") -> NoReturn:
    """Raise the Refusal of this status and text."""
    raise Refusal(status, {"message": message, "type": kind, "param": None, "code": code})


def page(request: Request, rows: Iterable[Json]) -> Json:
    """Return the part of a list that `limit` and `after` of the request ask for."""
    limit = request.query.get("limit", "20")
    if not limit.isdecimal() or not 1 <= int(limit) <= _LARGEST_PAGE:
        refuse(400, "limit has to be between 1 and 100.")
    rows = list(rows)
    after = request.query.get("after")
    if after is not None:
        place = next((n for n, row in enumerate(rows, 1) if row["id"] == after), None)
        rows = refuse(400, "after names no object of this list.") if place is None else rows[place:]
    shown = rows[: int(limit)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(rows) > len(shown),
    }

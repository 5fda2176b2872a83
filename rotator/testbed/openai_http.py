"""What the OpenAI emulator says in the API's own shapes: refusals and pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from rotator.testbed.listener import Json, Refusal, Request

_LARGEST_PAGE = 100

_BUCKETS = {"1m": (60, 60, 1440), "1h": (3600, 24, 168), "1d": (86400, 7, 31)}
"""Width → its seconds, and how many are usually and at most in an answer."""

USAGE: Mapping[str, Json] = {
    "completions": {"input_tokens": 10, "output_tokens": 10},
    "embeddings": {"input_tokens": 10},
    "moderations": {"input_tokens": 10},
    "images": {"images": 1},
    "audio_speeches": {"characters": 10},
    "audio_transcriptions": {"seconds": 10},
}
"""What is accounted for by key, and what a result has besides the number of requests."""


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


Made = tuple[float, str, str]
"""When a request was made, with which key, and to which model."""


def usage_page(request: Request, kind: str, requests: Sequence[Made], now: float) -> Json:
    """Return the part of the usage data that the request asks for, of all requests that were made.

    The document names the lists' parameters without brackets, OpenAI's own libraries send them with brackets.
    """
    query = {name.removesuffix("[]"): value for name, value in request.query.items()}
    if not query.get("start_time", "").isdecimal():
        refuse(400, "Missing required parameter: 'start_time'.")
    width = query.get("bucket_width", "1d")
    if width not in _BUCKETS:
        refuse(400, "bucket_width has to be one of 1m, 1h and 1d.")
    seconds, usual, most = _BUCKETS[width]
    limit = query.get("limit", str(usual))
    most = 180 if request.path.endswith("/costs") else most
    if not limit.isdecimal() or not 1 <= int(limit) <= most:
        refuse(400, f"limit has to be between 1 and {most}.")
    first = int(query.get("page", "page_" + query["start_time"]).removeprefix("page_")) // seconds * seconds
    end = int(query.get("end_time", now + 1))
    starts = list(range(first, end, seconds))
    shown = starts[: int(limit)]
    wanted = query.get("api_key_ids")
    groups = {*request.lists.get("group_by", ()), *request.lists.get("group_by[]", ())}
    counted = [one for one in requests if wanted in (None, one[1])]
    return {
        "object": "page",
        "data": [_bucket(kind, start, seconds, counted, groups) for start in shown],
        "has_more": len(starts) > len(shown),
        "next_page": f"page_{starts[len(shown)]}" if len(starts) > len(shown) else None,
    }


def costs_page(request: Request, requests: Sequence[Made], now: float, price: float) -> Json:
    """Return the costs of days, as `usage_page` does for requests; each request costs `price` dollars."""
    answer = usage_page(request, "completions", requests, now)
    for bucket in answer["data"]:
        bucket["results"] = [
            {
                "object": "organization.costs.result",
                "amount": {"value": result["num_model_requests"] * price, "currency": "usd"},
                "line_item": None,
                "project_id": None,
                "api_key_id": result["api_key_id"],
            }
            for result in bucket["results"]
        ]
    return answer


def _bucket(kind: str, start: int, seconds: int, requests: Sequence[Made], groups: set[str]) -> Json:
    made = [
        (key_id if "api_key_id" in groups else None, model if "model" in groups else None)
        for at, key_id, model in requests
        if start <= at < start + seconds
    ]
    results = [
        {
            "object": f"organization.usage.{kind}.result",
            **USAGE[kind],
            "num_model_requests": made.count((key_id, model)),
            **dict.fromkeys(("project_id", "user_id")),
            "model": model,
            "api_key_id": key_id,
        }
        for key_id, model in dict.fromkeys(made)
    ]
    return {"object": "bucket", "start_time": start, "end_time": start + seconds, "results": results}

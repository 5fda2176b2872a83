"""IAM, STS and Vault's KV that answer after so many seconds, and count what they are asked.

A process of one thread with no work to speak of, and no check of signatures: what a client needs is the client's own.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rotator.testbed.process import HOST, Server, http_status

ACCOUNT = "123456789012"
ADMINISTRATOR = "AKIAADMINISTRATOR000"
"""The access key id of whoever manages the others' keys."""

CALLS, DELAY = "/calls", "/delay/"
"""What a measurement asks and says: see `Stub`."""

_KV = "/v1/secret/data/"
_MOUNT = {"type": "kv", "options": {"version": "2"}}
_SIGNED_BY = re.compile(rb"Credential=(\w+)/")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    kind: str = "text/xml"


class Services:
    """The state of all of them. Every user exists, and has two keys at most."""

    def __init__(self, delay: float, per_second: float, clock: Callable[[], float]) -> None:
        self.delay = delay
        self._per_second = per_second
        self._clock = clock
        self._numbers = itertools.count(1)
        self._keys: dict[str, dict[str, str]] = {}  # user → key id → status
        self._users: dict[str, str] = {ADMINISTRATOR: "administrator"}  # key id → user
        self._secrets: dict[str, list[Mapping[str, Any]]] = {}  # path → versions
        self._lately: deque[float] = deque()
        self._calls: Counter[str] = Counter()
        self._times: list[float] = []

    def answer(self, method: str, target: str, head: bytes, body: bytes) -> Answer:
        """One request in, its answer out."""
        url = urlsplit(target)
        if url.path == CALLS:
            told = {"calls": self._calls, "provider_times": self._times}
            answer = _json(HTTPStatus.OK, told)
            self._calls, self._times = Counter(), []
            return answer
        if url.path.startswith(DELAY):
            self.delay = float(url.path.removeprefix(DELAY))
            return _json(HTTPStatus.OK, {})
        if url.path.startswith("/v1/"):
            return self._vault(method, url.path, dict(parse_qsl(url.query)), body)
        return self._aws(dict(parse_qsl(body.decode())), head)

    def _aws(self, asked: Mapping[str, str], head: bytes) -> Answer:  # noqa: PLR0911 - an answer for each action
        action = asked["Action"]
        if self._throttled():
            self._calls["throttled"] += 1
            return _refusal(HTTPStatus.BAD_REQUEST, "Throttling")
        self._calls[action] += 1
        self._times.append(self._clock())
        user, key = asked.get("UserName", ""), asked.get("AccessKeyId", "")
        keys = self._keys.setdefault(user, {}) if user else {}
        if action == "GetCallerIdentity":
            return self._caller(action, head)
        if action == "ListAccessKeys":
            listed = "".join(f"<member>{_shown(user, one, keys[one])}</member>" for one in keys)
            return _result(action, f"<AccessKeyMetadata>{listed}</AccessKeyMetadata><IsTruncated>false</IsTruncated>")
        if action == "GetAccessKeyLastUsed":
            used = "<ServiceName>N/A</ServiceName><Region>N/A</Region>"
            return _result(action, f"<UserName>{user}</UserName><AccessKeyLastUsed>{used}</AccessKeyLastUsed>")
        if action == "CreateAccessKey":
            return self._create(action, user, keys)
        if key not in keys:
            return _refusal(HTTPStatus.NOT_FOUND, "NoSuchEntity")
        if action == "UpdateAccessKey":
            keys[key] = asked["Status"]
        else:
            del keys[key], self._users[key]
        return _result(action, "")

    def _caller(self, action: str, head: bytes) -> Answer:
        signed = _SIGNED_BY.search(head)
        by = signed[1].decode() if signed else ""
        if by not in self._users:
            return _refusal(HTTPStatus.FORBIDDEN, "InvalidClientTokenId")
        arn = f"arn:aws:iam::{ACCOUNT}:user/{self._users[by]}"
        return _result(action, f"<Arn>{arn}</Arn><UserId>{by}</UserId><Account>{ACCOUNT}</Account>")

    def _create(self, action: str, user: str, keys: dict[str, str]) -> Answer:
        if len(keys) > 1:
            return _refusal(HTTPStatus.CONFLICT, "LimitExceeded")
        made = f"AKIA{next(self._numbers):016}"
        keys[made], self._users[made] = "Active", user
        secret = f"<SecretAccessKey>{made * 2}</SecretAccessKey>"
        return _result(action, f"<AccessKey>{_shown(user, made, 'Active')}{secret}</AccessKey>")

    def _throttled(self) -> bool:
        if not self._per_second:
            return False
        now = self._clock()
        while self._lately and self._lately[0] <= now - 1:
            self._lately.popleft()
        if len(self._lately) >= self._per_second:
            return True
        self._lately.append(now)
        return False

    def _vault(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        if not path.startswith(_KV):
            self._calls["mount"] += 1
            return _json(HTTPStatus.OK, {"data": _MOUNT})
        versions = self._secrets.setdefault(path, [])
        if method == "GET":
            self._calls["read"] += 1
            number = int(query.get("version") or 0) or len(versions)
            if not 1 <= number <= len(versions):
                return _json(HTTPStatus.NOT_FOUND, {"errors": []})
            found = {"data": versions[number - 1], "metadata": {"version": number, "deletion_time": ""}}
            return _json(HTTPStatus.OK, {"data": found})
        self._calls["write"] += 1
        sent = json.loads(body)
        if sent["options"].get("cas", len(versions)) != len(versions):
            return _json(HTTPStatus.BAD_REQUEST, {"errors": ["check-and-set parameter did not match"]})
        versions.append(sent["data"])
        return _json(HTTPStatus.OK, {"data": {"version": len(versions)}})


def _shown(user: str, key: str, status: str) -> str:
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"<UserName>{user}</UserName><AccessKeyId>{key}</AccessKeyId>"
        f"<Status>{status}</Status><CreateDate>{made}</CreateDate>"
    )


def _result(action: str, inner: str) -> Answer:
    ours = "<ResponseMetadata><RequestId>stub</RequestId></ResponseMetadata>"
    return Answer(200, f"<{action}Response><{action}Result>{inner}</{action}Result>{ours}</{action}Response>".encode())


def _refusal(status: int, code: str) -> Answer:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{code}</Message></Error>"
    return Answer(status, f"<ErrorResponse>{error}<RequestId>stub</RequestId></ErrorResponse>".encode())


def _json(status: int, content: Any) -> Answer:
    return Answer(status, json.dumps(content).encode(), "application/json")


class _Connection(asyncio.Protocol):
    """One client's, request after request; each of them waits on its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if not found or len(rest) < size:
            return
        self._received = rest[size:]
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        answer = self._services.answer(method, target, head, rest[:size])
        delay = 0 if target == CALLS else self._services.delay
        asyncio.get_running_loop().call_later(delay, self._send, answer)

    def _send(self, answer: Answer) -> None:
        head = f"HTTP/1.1 {answer.status} OK\r\nContent-Type: {answer.kind}\r\nContent-Length: {len(answer.body)}"
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(f"{head}\r\n\r\n".encode() + answer.body)


async def serve(port: int, delay: float, per_second: float) -> None:
    """Until the process is ended."""
    loop = asyncio.get_running_loop()
    services = Services(delay, per_second, loop.time)
    server = await loop.create_server(lambda: _Connection(services), HOST, port, backlog=512)
    await server.serve_forever()


class Stub(Server):
    """The services as a process of their own. A context manager.

    Above `per_second` provider calls in a second they throttle, as AWS does; 0 is no limit.
    """

    def __init__(self, delay: float = 0, per_second: float = 0) -> None:
        super().__init__()
        self._delay = delay
        self._per_second = per_second

    @property
    def url(self) -> str:
        """The address of every service."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Run the module by itself."""
        return [sys.executable, "-m", "bench.stubs", str(self.port), str(self._delay), str(self._per_second)]

    def ready(self) -> bool:
        """Whether it counts."""
        return http_status(self.port, CALLS) == http.client.OK

    def calls(self) -> tuple[Counter[str], list[float]]:
        """How often each was called since this was asked last, and the times in seconds of the provider's."""
        told = self._ask(CALLS)
        return Counter(told["calls"]), told["provider_times"]

    def answer_after(self, seconds: float) -> None:
        """Be as slow as that from now on."""
        self._ask(f"{DELAY}{seconds}")

    def _ask(self, path: str) -> Any:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))

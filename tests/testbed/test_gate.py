"""The gate forwards as it came, and does to chosen requests what it was told, once."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest

from rotator.testbed.aws import Aws
from rotator.testbed.gate import Answer, CutMidBody, Delay, Gate, Lose, Refuse, Request

CONTENT = b"0123456789" * 10


class Server(ThreadingHTTPServer):
    """A server that remembers what reached it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, list[tuple[str, str]], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers 100 bytes, 204 to DELETE, and without a length to /old."""

    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.requestline.split()[1], list(self.headers.raw_items()), body))
        self.send_response(204 if self.command == "DELETE" else 200)
        self.send_header("X-Twice", "one")
        self.send_header("X-Twice", "two")
        if self.command != "DELETE" and self.path != "/old":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.command not in ("DELETE", "HEAD"):
            self.wfile.write(CONTENT)

    do_GET = do_POST = do_DELETE = do_HEAD = do_LIST = answer  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def gate(server: Server, gate_to: Callable[[str], Gate]) -> Gate:
    return gate_to(f"{server.url}/ignored")


@pytest.fixture
def client(gate: Gate) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gate.url, trust_env=False, timeout=5) as client:
        yield client


def every(_: Request) -> bool:
    return True


def test_a_request_is_forwarded_as_it_came(gate: Gate, server: Server) -> None:
    target = urlsplit(gate.url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=5)
    connection.putrequest("POST", "//a%2Fb//c?x=%20&y", skip_host=True, skip_accept_encoding=True)
    headers = [("Host", "secrets.example:99"), ("X-a", "1"), ("x-A", "2"), ("Content-Length", "3")]
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders(b"\x00\r\n")
    answer = connection.getresponse()
    assert (answer.status, answer.read(), answer.headers.get_all("X-Twice")) == (200, CONTENT, ["one", "two"])
    connection.close()
    assert server.seen == [("POST", "//a%2Fb//c?x=%20&y", headers, b"\x00\r\n")]


def test_a_chunked_body_arrives_whole(client: httpx.Client, server: Server) -> None:
    client.post("/x", content=iter([b"one, ", b"two"]))
    assert server.seen[0][3] == b"one, two"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "LIST"])
def test_one_connection_carries_many_requests(method: str, client: httpx.Client, server: Server) -> None:
    for _ in range(3):
        assert client.request(method, "/x").is_success
    assert len(server.seen) == 3


def test_an_answer_without_a_length_is_passed_on(client: httpx.Client) -> None:
    assert client.get("/old").content == CONTENT


def test_requests_are_noted_without_showing_what_may_be_secret(client: httpx.Client, gate: Gate) -> None:
    client.post("/x?y", content=b"sealed", headers={"Authorization": "Bearer sealed"})
    (request,) = gate.requests
    assert (request.method, request.path, request.body) == ("POST", "/x?y", b"sealed")
    assert request.headers["authorization"] == "Bearer sealed"
    assert "sealed" not in repr(request)


def test_a_lost_answer_has_its_effect_once(client: httpx.Client, gate: Gate, server: Server) -> None:
    gate.on(lambda request: request.method == "POST", Lose())
    assert client.get("/x").status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/x")
    assert [seen[0] for seen in server.seen] == ["GET", "POST"]
    assert client.post("/x").status_code == 200


@pytest.mark.parametrize("effect", [False, True])
def test_an_answer_replaces_the_servers(effect: bool, client: httpx.Client, gate: Gate, server: Server) -> None:
    gate.on(every, Answer(429, headers={"Retry-After": "7"}, body=b"slow down", effect=effect))
    answer = client.post("/x")
    assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (429, "7", b"slow down")
    assert len(server.seen) == int(effect)


def test_a_delayed_answer_has_its_effect_at_once(client: httpx.Client, gate: Gate, server: Server) -> None:
    gate.on(every, Delay(30))
    with pytest.raises(httpx.ReadTimeout):
        client.post("/x", timeout=0.3)
    assert len(server.seen) == 1


def test_a_late_effect_comes_although_the_client_gave_up(client: httpx.Client, gate: Gate, server: Server) -> None:
    gate.on(every, Delay(0.4, late_effect=True))
    with pytest.raises(httpx.ReadTimeout):
        client.post("/x", timeout=0.1)
    assert server.seen == []
    end = time.monotonic() + 10
    while not server.seen and time.monotonic() < end:
        time.sleep(0.02)
    assert len(server.seen) == 1


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
def test_a_cut_answer_is_an_error_for_the_client(method: str, client: httpx.Client, gate: Gate, server: Server) -> None:
    gate.on(every, CutMidBody())
    with pytest.raises(httpx.RemoteProtocolError):
        client.request(method, "/x")
    assert len(server.seen) == 1


def test_a_refused_request_has_no_effect(client: httpx.Client, gate: Gate, server: Server) -> None:
    gate.on(every, Refuse())
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/x")
    assert server.seen == []
    assert len(gate.requests) == 1


def test_faults_come_in_the_order_given_and_as_often_as_asked(client: httpx.Client, gate: Gate) -> None:
    gate.on(every, Answer(500), times=2)
    gate.on(every, Answer(503), times=None)
    assert [client.get("/x").status_code for _ in range(5)] == [500, 500, 503, 503, 503]
    gate.clear()
    assert client.get("/x").status_code == 200
    assert len(gate.requests) == 1


def test_a_gate_that_is_down_refuses_connections_and_comes_back(client: httpx.Client, gate: Gate) -> None:
    client.get("/x")
    with gate.down(), pytest.raises(httpx.ConnectError):
        httpx.get(gate.url, trust_env=False)
    assert client.get("/x").status_code == 200


def test_a_server_that_is_gone_is_a_502(gate_to: Callable[[str], Gate]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gate = gate_to(f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert httpx.get(gate.url, trust_env=False).status_code == 502


def test_closing_waits_for_no_client_and_leaves_no_thread(server: Server) -> None:
    before = threading.active_count()
    gate = Gate(server.url)
    gate.on(every, Delay(60))
    with httpx.Client(base_url=gate.url, trust_env=False) as idle, httpx.Client(trust_env=False) as waiting:
        with pytest.raises(httpx.ReadTimeout):
            waiting.get(gate.url, timeout=0.2)
        idle.get("/x")
        gate.close()
        gate.close()
    assert threading.active_count() <= before + 1  # the server below has a thread for a moment


def test_a_signed_request_stays_valid(aws: Aws, gate_to: Callable[[str], Gate]) -> None:
    import boto3
    from botocore.config import Config

    gate = gate_to(aws.url)
    sts = boto3.client(
        "sts",
        region_name=aws.region,
        endpoint_url=gate.url,
        aws_access_key_id=aws.root.access_key_id,
        aws_secret_access_key=aws.root.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}),
    )
    assert sts.get_caller_identity()["Account"] == aws.account
    assert len(gate.requests) == 1

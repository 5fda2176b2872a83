"""Over HTTP: metrics, liveness, readiness; from the daemon and from `metrics serve`, as real processes."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from rotator.testbed.postgres import Postgres
from tests.cli.house import House, until
from tests.daemon.conftest import SHORT, Running, Start, another_pass, start
from tests.web.scrape import Scrape, parse, value

__all__ = ["start"]

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def listening(said: Callable[[], str]) -> str:
    """The address that a process says it listens at."""
    until(lambda: "/metrics" in said())
    (found,) = re.findall(r"(http://\S+)/metrics", said())
    return str(found)


def scraped(url: str) -> Scrape:
    answer = httpx.get(f"{url}/metrics", headers=OPENMETRICS, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    return parse(answer.text)


def checks(url: str, page: str) -> tuple[int, dict[str, bool]]:
    answer = httpx.get(url + page, timeout=30)
    return answer.status_code, {check["name"]: check["ok"] for check in answer.json()["checks"]}


@pytest.fixture
def served(house: House, start: Start) -> tuple[Running, str]:
    daemon = start("--interval", "300ms", "--listen", "127.0.0.1:0")
    return daemon, listening(lambda: daemon.said)


def test_the_daemon_tells_what_metrics_serve_tells(house: House, served: tuple[Running, str], tmp_path: Path) -> None:
    daemon, url = served
    another_pass(house)
    another_pass(house)
    mine = scraped(url)
    assert value(mine, "keyturn_rotations_total", result="completed") == 2
    assert value(mine, "process_open_fds") > 0
    assert checks(url, "/healthz") == (200, {"process": True})
    assert checks(url, "/readyz") == (200, {"database": True, "migrations": True, "sealing_key": True})
    assert daemon.stop() == 0
    with (tmp_path / "served.log").open("w") as log:
        process = house.start("metrics", "serve", "--listen", "127.0.0.1:0", stderr=log)
    other = listening((tmp_path / "served.log").read_text)
    theirs = scraped(other)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.stdout is not None
    assert process.stdout.read() == ""
    process.stdout.close()
    ours = {key for key in mine if key[0].startswith("keyturn_")}
    assert ours == set(theirs)
    counted = [key for key in ours if key[0].endswith("_total")]
    assert {key: mine[key] for key in counted} == {key: theirs[key] for key in counted}


def test_a_database_that_stops_shows_at_once_and_comes_back(
    house: House, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Postgres() as server:
        monkeypatch.setenv("DATABASE_URL", server.fresh_url("web"))
        house.write(SHORT.format(url="env:DATABASE_URL"))
        assert house.run("db", "upgrade").status == 0
        daemon = start("--interval", "500ms", "--listen", "127.0.0.1:0")
        url = listening(lambda: daemon.said)
        until(lambda: checks(url, "/readyz")[0] == 200)
        server.stop()
        assert checks(url, "/readyz") == (503, {"database": False})
        until(lambda: value(scraped(url), "keyturn_database_up") == 0)
        assert checks(url, "/healthz")[0] == 200
        server.start()
        until(lambda: checks(url, "/readyz")[0] == 200)
        until(lambda: value(scraped(url), "keyturn_database_up") == 1)
        assert daemon.stop() == 0


def test_a_daemon_that_waits_for_its_schema_lives_and_is_not_ready(house: House, start: Start) -> None:
    for file in house.folder.glob("rotator.db*"):
        file.unlink()
    (house.folder / "rotator.db").touch()
    daemon = start("--interval", "200ms", "--listen", "127.0.0.1:0")
    url = listening(lambda: daemon.said)
    assert checks(url, "/healthz")[0] == 200
    until(lambda: checks(url, "/readyz") == (503, {"migrations": False}))
    assert value(scraped(url), "keyturn_database_up") == 0
    assert house.run("db", "upgrade").status == 0
    until(lambda: checks(url, "/readyz")[0] == 200)
    assert daemon.stop() == 0


def test_only_get_and_only_what_there_is(served: tuple[Running, str]) -> None:
    daemon, url = served
    assert "/metrics" in httpx.get(url).text
    assert httpx.head(f"{url}/metrics").text == ""
    assert httpx.get(f"{url}/rotator.yaml").status_code == 404
    for method in ("POST", "PUT", "DELETE"):
        assert httpx.request(method, f"{url}/metrics").status_code == 501
    host, port = url.removeprefix("http://").split(":")
    for nonsense in (b"\x16\x03\x01", b"GET / HTTP/9\r\n\r\n", b""):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(nonsense)
    assert checks(url, "/healthz")[0] == 200
    assert daemon.stop() == 0


def test_an_address_that_is_taken_or_is_none_ends_it_with_2(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (("daemon",), ("metrics", "serve")):
            ran = house.run(*command, "--listen", port)
            assert ran.status == 2
            assert f"cannot listen at 127.0.0.1:{port}" in ran.err
    assert house.run("metrics", "serve", "--listen", "somewhere").status == 2


def test_health_says_what_is_wrong_and_what_to_do(house: House) -> None:
    assert house.run("health").out == "database: ok\nmigrations: ok\nsealing key: ok\n"
    late = house.run("health", "--pass-within", "10m", "--json")
    assert late.status == 1
    assert late.json["healthy"] is False
    assert {check["name"]: check["reason"] for check in late.json["checks"]}["last_pass"] == "no_passes"
    house.rotate()
    assert house.run("health", "--pass-within", "10m", "--quiet").status == 0
    (house.folder / "rotator.key").rename(house.folder / "key")
    ran = house.run("health")
    assert ran.status == 1
    assert "sealing key: " in ran.err
    assert "To do: " in ran.err
    (house.folder / "rotator.key").write_text("c" * 43 + "=")
    assert "sealing key: " in house.run("health").err
    (house.folder / "key").replace(house.folder / "rotator.key")
    (house.folder / "rotator.db").rename(house.folder / "away.db")
    gone = house.run("health", "--json")
    assert gone.status == 1
    assert json.loads(gone.out)["checks"][0]["name"] == "database"

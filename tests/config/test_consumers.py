"""The entries of `consumers:`, and `evidence:`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from rotator.config import Config, entry_of, json_schema, with_removed
from tests.config.sample import BASE, load_text, problems_with, told


def text(*entries: str, top: str = "") -> str:
    consumers = f"consumers: [{', '.join(entries)}]"
    return f"{BASE}{top}credentials:\n  web:\n    provider: local\n    destinations: [web]\n    {consumers}\n"


EVERY = text(
    "{systemd: web.service}",
    "{pidfile: run/web.pid, reads: web}",
    "{deployment: shop/api}",
    "{deployment: shop/api, api_server: 'https://k8s.example', token: 'file:token', ca_file: ca.crt}",
    "{heartbeat: web-1}",
    top="evidence: {drop: seen}\n",
)


@pytest.fixture
def every(tmp_path: Path) -> Config:
    return load_text(tmp_path, EVERY)


def test_every_kind_of_consumer_is_read(every: Config, tmp_path: Path) -> None:
    found = every.credentials["web"].consumers
    kinds = [consumer.adapter.__name__ for consumer in found.asked]
    assert kinds == ["SystemdUnit", "PidFile", "Deployment", "Deployment"]
    assert found.asked[1].settings.pidfile == tmp_path / "run" / "web.pid"
    assert [consumer.reads for consumer in found.asked] == [None, "web", None, None]
    assert found.heartbeats == ("web-1",)
    assert every.drop == tmp_path / "seen"


def test_without_them_nobody_is_asked(tmp_path: Path) -> None:
    for entries in ("", "consumers:"):
        config = load_text(tmp_path, text().replace("consumers: []", entries))
        assert config.credentials["web"].consumers.asked == ()
        assert config.drop is None


def test_what_is_taken_out_is_finished_with_the_same_consumers(every: Config) -> None:
    before = every.credentials["web"]
    whole, left_out = with_removed(replace(every, credentials={}), {"web": entry_of(before)})
    assert left_out == {}
    again = whole.credentials["web"].consumers
    assert [c.settings for c in again.asked][:3] == [c.settings for c in before.consumers.asked][:3]
    assert again.asked[1].reads == "web"
    assert again.heartbeats == before.consumers.heartbeats
    assert entry_of(whole.credentials["web"]) == entry_of(before)


@pytest.mark.parametrize(
    ("entry", "place", "message"),
    [
        ("{sytemd: web.service}", "[0]", "names no consumer; known: heartbeat, deployment, pidfile, systemd"),
        ("{}", "[0]", "names no consumer"),
        ("{systemd: web}", "[0].systemd", ""),
        ("{systemd: web.service, user: ann}", "[0].user", "unknown key"),
        ("{systemd: web.service, pidfile: web.pid}", "[0]", "is one consumer, not 2"),
        ("{deployment: api}", "[0].deployment", ""),
        ("{deployment: shop/api, api_server: 'http://k8s.example'}", "[0].api_server", "must begin with https://"),
        ("{deployment: shop/api, token: eyJhbGciOiJSUzI1NiIs}", "[0].token", "a secret is named, not written here"),
        ("{pidfile: web.pid, reads: vault}", "[0].reads", "the credential has no destination `vault`"),
        ("{pidfile: web.pid, reads: 7}", "[0].reads", ""),
        ("{heartbeat: web-1, reads: web}", "[0].reads", "unknown key"),
        ("{heartbeat: ../web}", "[0].heartbeat", "a consumer's name is at most 63"),
        ("{heartbeat: 7}", "[0].heartbeat", "a consumer's name is at most 63"),
        ("{heartbeat: web-1, every: 1m}", "[0].every", "unknown key"),
        ("web.service", "[0]", ""),
    ],
)
def test_a_wrong_entry_is_told_with_its_place(tmp_path: Path, entry: str, place: str, message: str) -> None:
    problems = [(p.place, p.message) for p in problems_with(tmp_path, text(entry))]
    assert any(p == f"credentials.web.consumers{place}" and message in m for p, m in problems), problems
    assert "eyJhbGci" not in str(problems)


def test_all_wrong_entries_are_told_at_once(tmp_path: Path) -> None:
    lines = told(
        tmp_path,
        text("{heartbeat: a}", "{heartbeat: a}", "{systemd: b.service}", "{systemd: b.service}", "{pidfile: 3}"),
    )
    assert [line.partition("consumers")[2] for line in lines] == [
        "[1].heartbeat: `a` is listed twice",
        "[3]: is listed twice",
        "[4].pidfile: a path is expected",
    ]


def test_the_section_takes_no_other_key(tmp_path: Path) -> None:
    (problem,) = problems_with(tmp_path, text(top="evidence: {folder: seen}\n"))
    assert (problem.place, problem.message) == ("evidence.folder", "unknown key")


def test_the_schema_says_so_too() -> None:
    check = Draft202012Validator(json_schema())
    assert list(check.iter_errors(yaml.safe_load(EVERY))) == []
    for entry in ("{sytemd: web.service}", "{heartbeat: ../web}", "{systemd: web}", "web.service"):
        assert list(check.iter_errors(yaml.safe_load(text(entry)))), entry

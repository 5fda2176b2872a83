"""Each alert fires when its cause is made with the real engine, and resolves when the cause is gone.

What is scraped before, during and after is repeated for as long as the rule wants to see it. Where promtool can be had
(Debian's package `prometheus`), it is given the same series and has to agree.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import promql_parser
import pytest
import yaml

from rotator.config import load
from rotator.domain.model import Lease
from rotator.engine import followers, operator
from rotator.settings import parse_duration
from rotator.testbed.gate import Refuse
from rotator.web import catalogue
from rotator.web.sources import Opened
from tests.contracts.store import holder_elsewhere
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Place
from tests.engine.test_rotation import is_write
from tests.engine.test_watch import EAGER
from tests.engine.test_when import aged
from tests.web.promql import Timeline, evaluate, grouped, selectors
from tests.web.scrape import Scrape, scrape

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yaml"
STEP = 300.0
START = 1_800_000_000.0


def rules() -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


ALERTS = rules()


def look(place: Place) -> Scrape:
    source = Opened(load(place.file))
    try:
        return scrape(source.metrics)
    finally:
        source.close()


@dataclass
class Seen:
    """Three scrapes: before the cause, while it lasts, after it."""

    before: Scrape
    during: Scrape
    after: Scrape


def reaches(alert: str, seen: Seen) -> None:
    """The alert does not fire before, fires once its cause has lasted, and does not fire afterwards."""
    rule = ALERTS[alert]
    lasts = parse_duration(rule.get("for", "0s"))
    phase = int((lasts + timedelta(hours=2)).total_seconds() // STEP)
    scrapes = [seen.before] * phase + [seen.during] * phase + [seen.after] * phase
    timeline = [(START + STEP * number, found) for number, found in enumerate(scrapes)]
    when = [phase - 1, _shows(rule["expr"], timeline, phase) + int(lasts.total_seconds() // STEP) + 1, 3 * phase - 1]
    firing = [_fires(rule["expr"], timeline, moment, lasts) for moment in when]
    assert firing == [False, True, False], (alert, rule["expr"])
    if promtool := shutil.which("promtool"):
        _promtool_agrees(promtool, alert, timeline, when)


def _shows(text: str, timeline: Timeline, begin: int) -> int:
    """When the condition first holds in the second phase: a range has to see an increase first."""
    for number in range(begin, begin + 3):
        if evaluate(text, timeline[: number + 1]):
            return number
    message = f"the cause does not show in {text}"
    raise AssertionError(message)


def _fires(text: str, timeline: Timeline, moment: int, lasts: timedelta) -> bool:
    back = int(lasts.total_seconds() // STEP)
    return all(evaluate(text, timeline[max(n - 30, 0) : n + 1]) for n in range(moment - back, moment + 1))


def _promtool_agrees(promtool: str, alert: str, timeline: Timeline, when: list[int]) -> None:
    named = {name for name, _ in selectors(promql_parser.parse(ALERTS[alert]["expr"]))}
    keys = sorted({key for _, found in timeline for key in found if key[0] in named}, key=str)
    series = [
        {
            "series": f"{name}{{{', '.join(f'{k}={json.dumps(v)}' for k, v in sorted(labels))}}}",
            "values": " ".join(str(found.get((name, labels), "_")) for _, found in timeline),
        }
        for name, labels in keys
    ]
    tests = [
        {
            "expr": f"count(ALERTS{{alertname={json.dumps(alert)}, alertstate='firing'}}) > bool 0",
            "eval_time": f"{m * 5}m",
        }
        for m in when
    ]
    for test, fires in zip(tests, (False, True, False), strict=True):
        test["exp_samples"] = [{"labels": "{}", "value": 1}] if fires else []  # type: ignore[assignment]
    whole = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "5m",
        "tests": [{"interval": "5m", "input_series": series, "promql_expr_test": tests}],
    }
    ran = subprocess.run(
        [promtool, "test", "rules", "/dev/stdin"],
        input=yaml.safe_dump(whole),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, (alert, ran.stdout[-2000:], ran.stderr[-2000:])


# causes

Cause = Callable[[OpenAIWeb], Iterator[None]]


def database_down(web: OpenAIWeb) -> Iterator[None]:
    file, away = web.place.folder / "rotator.db", web.place.folder / "away.db"
    file.rename(away)
    yield
    away.rename(file)


def blocked(web: OpenAIWeb) -> Iterator[None]:
    good = web.value(1)
    assert good is not None
    web.put("somebody's own", 1)
    web.place.rotate("web", now=True, patience=2)
    assert web.place.status("web")["status"] == "blocked"
    yield
    web.put(good, 1)
    web.place.rotate("web", now=True, patience=5)


def overdue(web: OpenAIWeb) -> Iterator[None]:
    yield from outlived(web, timedelta(hours=10, minutes=1))


def too_old(web: OpenAIWeb) -> Iterator[None]:
    yield from outlived(web, timedelta(hours=9, minutes=40))


def outlived(web: OpenAIWeb, age: timedelta) -> Iterator[None]:
    """A destination does not answer while the current key grows old."""
    web.write(policy={"rotate_every": None, "max_age": "10h"})
    web.vault_gate.on(is_write, Refuse(), times=None)
    aged(web, age)
    web.place.rotate(patience=6)
    yield
    web.vault_gate.clear()
    web.place.rotate()
    web.place.rotate()


def drift(web: OpenAIWeb) -> Iterator[None]:
    good = web.value(1)
    assert good is not None
    web.put("somebody's own", 1)
    web.place.rotate(patience=6)
    yield
    web.put(good, 1)
    web.place.rotate(patience=6)


def outage(web: OpenAIWeb) -> Iterator[None]:
    web.emulator.revoke(web.live()[0])
    web.place.rotate(patience=6)
    yield
    web.place.rotate("web", now=True)


def stranger(web: OpenAIWeb) -> Iterator[None]:
    theirs = web.emulator.make_key(name="by hand")
    web.place.rotate(patience=6)
    yield
    web.emulator.revoke(theirs.id)
    web.place.rotate(patience=6)


def abandoned(web: OpenAIWeb) -> Iterator[None]:
    """Its key cannot be deleted while the provider does not answer."""
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=2)
    with web.place.service() as service, service.running().hold("web") as work:
        operator.abandon(work, because="test")
    yield
    web.vault_gate.clear()
    web.place.rotate(patience=5)
    web.place.rotate(patience=5)


def provider_down(web: OpenAIWeb) -> Iterator[None]:
    web.gate.on(lambda _: True, Refuse(), times=None)
    for _ in range(6):
        web.place.rotate("web", now=True, patience=6)
    yield
    web.gate.clear()
    web.place.rotate("web", now=True)
    web.place.rotate()


def workers_die(web: OpenAIWeb) -> Iterator[None]:
    for number in range(5):
        with web.place.service(unlock=False) as service:
            claimed = service.store.claim(web_id(web), holder_elsewhere(str(number)), timedelta(microseconds=1))
            assert isinstance(claimed, Lease)
    web.place.rotate(patience=6)
    yield
    web.place.rotate(patience=6)


def receivers_silent(web: OpenAIWeb) -> Iterator[None]:
    """A sink's folder is not there, for a quarter of an hour."""
    content = yaml.safe_load(web.place.file.read_text())
    content["audit"] = {"sinks": {"siem": {"type": "file", "path": "gone/audit.jsonl"}}}
    web.place.file.write_text(yaml.safe_dump(content))
    with patch.object(followers, "LONG", timedelta(0)):
        web.place.rotate(patience=6)
    yield
    (web.place.folder / "gone").mkdir()
    with web.place.service() as service:
        service.store.note_follower("sink:siem", lambda row: replace(row, not_before=None))
    web.place.rotate(patience=6)


def web_id(web: OpenAIWeb) -> Any:
    with web.place.service(unlock=False) as service:
        return service.store.credentials()[0].id


CAUSES: dict[str, Cause] = {
    "KeyturnDatabaseDown": database_down,
    "KeyturnOutage": outage,
    "KeyturnCredentialBlocked": blocked,
    "KeyturnCredentialOverdue": overdue,
    "KeyturnKeyTooOld": too_old,
    "KeyturnDrift": drift,
    "KeyturnStranger": stranger,
    "KeyturnStrayKeys": abandoned,
    "KeyturnProviderBraked": provider_down,
    "KeyturnProviderCallsFail": provider_down,
    "KeyturnReceiverSilent": receivers_silent,
    "KeyturnRotationAbandoned": abandoned,
    "KeyturnWorkersDie": workers_die,
}


@pytest.fixture
def watched(web_embedded: OpenAIWeb) -> OpenAIWeb:
    """One key, current at both places; every pass looks."""
    web_embedded.place.engine = dict(EAGER)
    web_embedded.write()
    web_embedded.place.rotate()
    return web_embedded


@pytest.mark.parametrize("alert", CAUSES)
def test_an_alert_fires_on_its_cause_and_resolves(watched: OpenAIWeb, alert: str) -> None:
    if alert == "KeyturnProviderCallsFail":  # a counter that is there for the first time has not increased yet
        list(CAUSES[alert](watched))
    before = look(watched.place)
    cause = CAUSES[alert](watched)
    next(cause)
    during = look(watched.place)
    next(cause, None)
    reaches(alert, Seen(before, during, look(watched.place)))


def test_nothing_that_tells_is_told(watched: OpenAIWeb) -> None:
    found = look(watched.place)
    reaches("KeyturnNotScraped", Seen(found, {}, found))


def test_passes_that_do_not_come_are_told(watched: OpenAIWeb) -> None:
    """By the clock: what is scraped stays as it is, and time goes on."""
    rule, found = ALERTS["KeyturnNoPasses"], look(watched.place)
    last = found["keyturn_last_pass_timestamp_seconds", frozenset()]
    fresh = {**found, ("keyturn_last_pass_timestamp_seconds", frozenset()): last + 3600}  # a pass an hour later
    assert not evaluate(rule["expr"], [(last + 1700, found)])
    assert evaluate(rule["expr"], [(last + 1900, found)])
    assert not evaluate(rule["expr"], [(last + 3700, fresh)])


def test_a_database_of_the_past_is_told(watched: OpenAIWeb) -> None:
    from tests.engine.test_reconcile import Backups

    web, backup = watched, Backups(watched.place)
    before = look(web.place)
    backup.take()
    web.place.rotate("web", now=True)
    web.place.rotate(patience=2)
    backup.restore(in_place=True)
    web.place.rotate(patience=6)
    during = look(web.place)
    reaches("KeyturnReconcile", Seen(before, during, before))


def test_every_rule_has_its_cause() -> None:
    elsewhere = {"KeyturnNotScraped", "KeyturnNoPasses", "KeyturnReconcile"}
    assert ALERTS.keys() == CAUSES.keys() | elsewhere


# rules, panels and pages


def panels() -> list[tuple[str, str]]:
    """Title → expression, of the dashboard."""
    board = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]


QUERIES = [(name, rule["expr"]) for name, rule in ALERTS.items()] + panels()


@pytest.mark.parametrize(("name", "text"), QUERIES, ids=[name for name, _ in QUERIES])
def test_what_a_rule_or_a_panel_asks_for_is_exposed(name: str, text: str) -> None:
    node = promql_parser.parse(text.replace("$__rate_interval", "5m"))
    labels: set[str] = set()
    for metric, matched in selectors(node):
        (of,) = [m for m in catalogue.METRICS if metric in m.series]
        known = {*of.labels, "le"}
        assert set(matched) <= known, metric
        labels |= known
    assert set(grouped(node)) <= labels


def test_every_runbook_link_leads_to_a_heading() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert headings == list(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} <= rule["annotations"].keys()


def test_a_template_of_a_rule_names_labels_that_its_result_has() -> None:
    for rule in ALERTS.values():
        node = promql_parser.parse(rule["expr"])
        known = {
            label
            for m in catalogue.METRICS
            for metric, _ in selectors(node)
            if metric in m.series
            for label in m.labels
        }
        known = set(grouped(node)) or known
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= known


def test_the_file_has_what_prometheus_reads_and_nothing_else() -> None:
    """Prometheus refuses a whole file for one unknown key. Where promtool is, it reads the file as well."""
    document = yaml.safe_load(RULES.read_text())
    assert document.keys() == {"groups"}
    (group,) = document["groups"]
    assert group.keys() == {"name", "rules"}
    for rule in group["rules"]:
        assert (
            {"alert", "expr", "labels", "annotations"}
            <= rule.keys()
            <= {"alert", "expr", "for", "labels", "annotations"}
        )
        assert re.fullmatch(r"[a-zA-Z_]\w*", rule["alert"])
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s"))
        assert all(isinstance(text, str) for text in (*rule["labels"].values(), *rule["annotations"].values()))
        promql_parser.parse(rule["expr"])
    if promtool := shutil.which("promtool"):
        ran = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr

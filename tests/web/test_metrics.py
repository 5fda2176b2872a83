"""What metrics say is what happened, whoever did it; and their number stays bounded."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from rotator.engine.census import NAMED
from rotator.engine.report import Report
from rotator.store import tables
from rotator.web import catalogue
from rotator.web import metrics as exposition
from rotator.web.metrics import Installation
from rotator.wiring import Service
from tests.cli.house import House
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Place
from tests.web.scrape import Scrape, scrape, value

KNOWN = {metric.name: metric for metric in catalogue.METRICS}


def look(place: Place) -> Scrape:
    with place.service(unlock=False) as service:
        return scrape(Installation(service.report))


def test_a_scrape_tells_what_passes_did_whose_processes_are_gone(installed: Place) -> None:
    before = look(installed)
    assert value(before, "keyturn_last_pass_timestamp_seconds") == 0
    assert value(before, "keyturn_credentials", status="never_rotated") == 2
    installed.rotate()
    installed.rotate("web", now=True)
    found = look(installed)
    assert value(found, "keyturn_rotations_total", result="completed") == 3
    assert value(found, "keyturn_events_total", event="promote.succeeded") == 3
    assert value(found, "keyturn_provider_calls_total", call="set", status="ok") == 3
    for step in ("create", "authenticate", "push", "verify", "promote", "drain", "delete"):
        assert value(found, "keyturn_step_duration_seconds_count", step=step) >= 1, step
    assert value(found, "keyturn_step_duration_seconds_bucket", step="promote", le="+Inf") == 3
    with installed.service(unlock=False) as service:
        entry = service.report().status(["web"])["credentials"][0]
        last = service.store.installation().last_pass_at
        assert value(found, "keyturn_audit_head") == service.store.head()[0]
    assert last is not None
    assert value(found, "keyturn_last_pass_timestamp_seconds") == pytest.approx(last.timestamp())
    made = value(found, "keyturn_credential_current_key_timestamp_seconds", credential="web")
    assert abs(made - last.timestamp()) < 600
    assert entry["status"] == "ok"
    assert value(found, "keyturn_credential_status", credential="web", status="ok") == 1


def test_calls_that_fail_and_attempts_that_are_made_again_are_counted(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    with web.gate.down():
        web.place.rotate(patience=2)
    failed = look(web.place)
    assert value(failed, "keyturn_provider_calls_total", call="account", status="unreachable") >= 2
    assert value(failed, "keyturn_retries_total", step="create", reason="unreachable") >= 2


def test_openmetrics_and_the_text_format_tell_the_same_and_all_of_it_is_in_the_catalogue(
    installed: Place, tmp_path: Path
) -> None:
    installed.rotate()
    installed.rotate("web", now=True)
    file = tmp_path / "keyturn.prom"
    with installed.service(unlock=False) as service:
        collector = Installation(service.report, monotonic=lambda: 0.0)
        exposition.write(collector, file)
        found = scrape(collector)
    samples = {
        (s.name, frozenset(s.labels.items())): s.value
        for family in text_string_to_metric_families(file.read_text())
        for s in family.samples
    }
    assert samples == {key: found[key] for key in found}
    for name, labels in found:
        metric = next(m for m in catalogue.METRICS if name in m.series)
        assert {label for label, _ in labels} - {"le"} == set(metric.labels), name


def test_a_database_that_does_not_answer_is_told(installed: Place) -> None:
    with installed.service(unlock=False) as service:
        service.store.close()
        (installed.folder / "rotator.db").rename(installed.folder / "away")
        found = scrape(Installation(service.report))
    assert {name: v for (name, _), v in found.items() if "duration" not in name} == {"keyturn_database_up": 0}


def test_scrapes_take_a_tenth_of_the_time_at_most(installed: Place) -> None:
    now, asked = 0.0, 0
    with installed.service(unlock=False) as service:

        def slow() -> Report:
            nonlocal now, asked
            now, asked = now + 2, asked + 1
            return service.report()

        collector = Installation(slow, monotonic=lambda: now)
        for _ in range(3):
            scrape(collector)
        assert asked == 1
        now += 20
        scrape(collector)
        assert asked == 2


def many(service: Service, number: int) -> Report:
    """A report of so many credentials, as rows and as configuration."""
    managed, names = service.managed["web"], [f"c{index:05}" for index in range(number)]
    now = service.store.now()
    credential = {"provider": "local", "managed": True, "created_at": now}
    version = {"number": 1, "account": "local", "label": "c", "created_at": now, "state": "current", "current_at": now}
    credentials = [{"id": str(uuid4()), "name": name, **credential} for name in names]
    versions = [
        {
            "id": str(uuid4()),
            "credential_id": row["id"],
            "key_id": row["name"],
            **version,
            "issued_at": now - timedelta(i),
        }
        for i, row in enumerate(credentials)
    ]
    with service.store.database.write() as connection:
        connection.execute(insert(tables.credential), credentials)
        connection.execute(insert(tables.version), versions)
    return Report(service.store, {name: replace(managed, name=name) for name in names})


def test_ten_thousand_credentials_have_a_bounded_number_of_series_and_the_worst_have_their_own(
    installed: Place,
) -> None:
    with installed.service(unlock=False) as service:
        small = scrape(Installation(lambda: many(service, 1)))
    installed.folder.joinpath("rotator.db").unlink()
    installed._set_up()
    with installed.service(unlock=False) as service:
        report = many(service, 10_000)
        found = scrape(Installation(lambda: report))
    by_name = {name for name, _ in found if name.startswith("keyturn_credential_")}
    own = sum(1 for name, _ in found if name in by_name)
    assert own <= NAMED * len(by_name)
    assert len(found) - own <= len(small) + 10
    assert value(found, "keyturn_credentials_without_series") == 10_000 - NAMED
    total = sum(v for (name, _), v in found.items() if name == "keyturn_credentials")
    assert total == 10_000
    # All are due; those with the oldest keys come first.
    named = {dict(labels)["credential"] for name, labels in found if name == "keyturn_credential_status"}
    assert named == {f"c{index:05}" for index in range(10_000 - NAMED, 10_000)}


def test_the_commands_and_the_daemon_tell_the_same(house: House) -> None:
    assert house.rotate().status == 0
    assert house.run("metrics", "write", "keyturn.prom").status == 0
    written = text_string_to_metric_families((house.folder / "keyturn.prom").read_text())
    names = {sample.name for family in written for sample in family.samples}
    assert {"keyturn_rotations_total", "keyturn_credential_status", "keyturn_database_up"} <= names
    assert house.run("metrics", "write", "nowhere/keyturn.prom").status == 2
    (house.folder / "rotator.db").rename(house.folder / "away.db")
    ran = house.run("metrics", "write", "keyturn.prom")
    assert ran.status == 1
    assert "there is no database" in ran.err
    assert "keyturn_database_up 0" in (house.folder / "keyturn.prom").read_text()

"""The life of a CronJob's pod: it ends in time, nothing keeps it alive, and what cannot work there is refused.

That two at once are harmless is `test_signals.py`; that the next one repairs what a killed one left, at whatever
moment, is `tests/crash`.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from rotator.access.volumes import Volumes
from rotator.cli import in_a_pod
from rotator.config import load
from tests.cli.house import House
from tests.cli.test_signals import pushing, said

MANY = 120


def pass_that_pushes(house: House, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A pass whose first step outlasts whatever ends it: its place is locked."""
    house.change("call_budget: 2s", "call_budget: 50s")
    house.change("lease: 6s", "lease: 100s")
    return house.start("rotate", "web", "--fail-on", "new", *options, "-v", env=env)


@pytest.mark.parametrize("by", ["option", "environment"])
def test_at_its_deadline_a_pass_parks_its_step_and_ends_with_0(house: House, by: str) -> None:
    options, env = (["--deadline", "3s"], {}) if by == "option" else ([], {"ROTATOR_DEADLINE": "3s"})
    with house.locked():
        process = pass_that_pushes(house, *options, env=env)
        said(process, "its deadline has come")
    ran = house.end(process)
    assert ran.status == 0
    assert "stopped by its deadline; parked: web at" in ran.err
    assert "test: 1 credential: 1 rotating" in ran.out  # and what is left
    assert house.rotate("web").status == 0
    assert house.status()["current"]["version"] == 1
    assert house.happened("create.started") == 1


@pytest.mark.parametrize(("options", "status"), [(["--deadline", "10m"], 0), ([], 143)])
def test_sigterm_is_the_deadline_come_early_where_there_is_one(house: House, options: list[str], status: int) -> None:
    with house.locked():
        process = pass_that_pushes(house, *options)
        said(process, "push.started")
        process.send_signal(signal.SIGTERM)
        said(process, "stopping after the step in hand")
    ran = house.end(process)
    assert ran.status == status
    assert "stopped by SIGTERM; parked: web at verify" in ran.err


def test_the_deadline_of_the_environment_keeps_nobody_from_an_emergency(house: House) -> None:
    env = {"ROTATOR_DEADLINE": "1ms"}
    assert house.run("rotate", "--now", "web", env=env).status == 0
    ran = house.run("rotate", "--now", "web", "--deadline", "1s")
    assert ran.status == 2
    assert "--deadline is for a pass; --now has --timeout" in ran.err


def test_a_pass_that_is_over_in_time_says_nothing_of_its_deadline(house: House) -> None:
    ran = house.rotate("--deadline", "10m")
    assert (ran.status, ran.err) == (0, "")


def test_a_second_job_at_the_same_time_is_harmless(house: House) -> None:
    with house.locked():
        first = pushing(house)
        ran = house.rotate("--fail-on", "new", "--linger", "0s")
        assert ran.status == 0
        assert "web: another worker has it" in ran.said
    assert house.end(first).status == 0
    assert house.happened("create.started") == 2  # web's and mail's


def test_more_than_a_hundred_waits_of_a_day_keep_no_pod_alive(house: House) -> None:
    entry = '  c{0}: {{provider: local, destinations: [{{to: app, fields: {{C{0}: "{{secret}}"}}}}]}}\n'
    house.change("grace: 1h", "grace: 24h")
    text = (house.folder / "rotator.yaml").read_text(encoding="utf-8").split("credentials:\n")[0]
    house.write(text + "credentials:\n" + "".join(entry.format(number) for number in range(MANY)))
    assert house.rotate("--linger", "5m").status == 0
    assert house.rotate("--now", "--all", "--quiet").status == 0
    ran = house.rotate("--linger", "12h", "--fail-on", "new")  # it might linger; the test's own limit is shorter
    assert ran.status == 0
    assert f"{MANY} retiring" in ran.out


# check --as cronjob


def mounted(folder: Path, point: Path, kind: str = "ext4") -> Volumes:
    """A machine where a volume is mounted at `point`."""
    lines = ["1 0 0:50 / / rw - overlay overlay rw", f"2 1 8:1 / {point} rw - {kind} /dev/sdb rw"]
    (folder / "mountinfo").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Volumes(folder / "mountinfo")


def test_in_the_file_system_of_its_container_it_is_refused_before_the_first_run(house: House, tmp_path: Path) -> None:
    found = in_a_pod.findings(load(house.folder / "rotator.yaml"), ["web"], mounted(tmp_path, tmp_path / "none"))
    assert [finding.reason for finding in found] == ["no_volume", "no_volume"]
    assert "rotator.db is in the container's own file system: each run would begin with nothing" in found[0].message
    assert "PostgreSQL" in str(found[0].remedy)
    assert (found[1].credential, "app.env is in" in found[1].message) == ("web", True)


def test_on_a_persistent_volume_nothing_is_refused(house: House, tmp_path: Path) -> None:
    volumes = mounted(tmp_path, house.folder)
    found = in_a_pod.findings(load(house.folder / "rotator.yaml"), ["web", "mail"], volumes)
    assert [finding.outcome for finding in found] == ["ok"]


HOSTS_OWN = [
    ("    labels: {team: web}", "    consumers: [{pidfile: /run/web.pid}]", "a pidfile of another machine"),
    ("    labels: {team: web}", "    consumers: [{systemd: web.service}]", "a systemd of another machine"),
    (
        '"{secret}"}}]\n  mail',
        '"{secret}"}, reload: {signal: HUP, pidfile: /run/web.pid}}]\n  mail',
        "signals a process",
    ),
    ("environment: test", "environment: test\nseal: {key: 'systemd-credential:rotator'}", "the sealing key"),
]


@pytest.mark.parametrize(("old", "new", "message"), HOSTS_OWN)
def test_what_needs_a_host_is_refused(house: House, tmp_path: Path, old: str, new: str, message: str) -> None:
    house.change(old, new)
    found = in_a_pod.findings(load(house.folder / "rotator.yaml"), ["web"], mounted(tmp_path, house.folder))
    assert [finding.reason for finding in found] == ["no_host"]
    assert message in found[0].message
    assert found[0].remedy


def test_heartbeats_need_a_database_or_a_drop_that_consumers_reach(house: House, tmp_path: Path) -> None:
    house.change("    labels: {team: web}", "    consumers: [{heartbeat: web-1}]")
    found = in_a_pod.findings(load(house.folder / "rotator.yaml"), ["web"], mounted(tmp_path, house.folder))
    assert [finding.reason for finding in found] == ["no_host"]
    house.change("environment: test", "environment: test\nevidence: {drop: seen}")
    found = in_a_pod.findings(load(house.folder / "rotator.yaml"), ["web"], mounted(tmp_path, house.folder))
    assert [finding.outcome for finding in found] == ["ok"]


def test_the_command_looks_at_the_machine_it_runs_on(house: House) -> None:
    ran = house.run("check", "web", "--as", "cronjob", "--json")
    found = [finding for finding in ran.json["checks"] if finding["check"] == "cronjob"]
    assert found
    by_hand = in_a_pod.findings(load(house.folder / "rotator.yaml"), ["web"], Volumes())
    assert [finding["reason"] for finding in found] == [finding.reason for finding in by_hand]

"""The units of deploy/systemd: what the daemon and the timer were promised to have. systemd itself is asked by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest

from rotator.cli import OnDemand, commands
from rotator.settings import parse_duration

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = ("rotator.service", "rotate.service")

Unit = dict[str, dict[str, list[str]]]


def unit(name: str) -> Unit:
    """Sections, and in them each key with its values in turn (systemd.syntax(7))."""
    found: Unit = {}
    section: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and line[0] not in "#;":
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_its_command_is_one_that_there_is(name: str) -> None:
    (line,) = unit(name)["Service"]["ExecStart"]
    program, *arguments = shlex.split(line)
    words = [Path(program).name, *arguments]
    if words[0] == "rotator":
        words = words[1:]
    command = OnDemand.get_command(commands, click.Context(commands), words[0])
    assert command is not None
    command.make_context(
        words[0], words[1:], parent=click.Context(commands, **commands.context_settings)
    )  # raises where an option is none


@pytest.mark.parametrize("name", SERVICES)
def test_it_has_no_rights_and_no_secret_in_its_environment(name: str) -> None:
    service = unit(name)["Service"]
    assert service["CapabilityBoundingSet"] == [""]
    for key in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "MemoryDenyWriteExecute"):
        assert service[key] == ["yes"], key
    assert service["ProtectSystem"] == ["strict"]
    assert service["DynamicUser"] == ["yes"]
    assert service["LoadCredentialEncrypted"] == ["rotator.key"]
    assert service["Environment"] == ["ROTATOR_CONFIG=/etc/rotator/rotator.yaml"]
    assert not service.keys() & {"EnvironmentFile", "PassEnvironment"}


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_hides_the_processes_by_which_a_dead_worker_is_told(name: str) -> None:
    assert not unit(name)["Service"].keys() & {"ProtectProc", "ProcSubset", "PrivatePIDs"}


def test_the_daemon_notifies_is_watched_and_is_not_begun_again_in_vain() -> None:
    service = unit("rotator.service")["Service"]
    assert service["Type"] == ["notify"]
    assert float(service["WatchdogSec"][0]) > 0
    assert (service["Restart"], service["RestartPreventExitStatus"]) == (["on-failure"], ["2"])
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert float(service["TimeoutStopSec"][0]) > 30  # the daemon's own grace


def test_a_pass_of_the_timer_ends_itself_before_systemd_does() -> None:
    service = unit("rotate.service")["Service"]
    assert service["Type"] == ["oneshot"]
    words = shlex.split(service["ExecStart"][0])
    deadline = parse_duration(words[words.index("--deadline") + 1])
    assert service["TimeoutStartSec"] == ["10min"]
    assert deadline < parse_duration("10m") - parse_duration("20s")
    timer = unit("rotate.timer")["Timer"]
    assert timer["Persistent"] == ["true"]


def test_both_services_have_the_same_sandbox() -> None:
    ours = {"Type", "ExecStart", "ExecReload", "Restart", "RestartSec", "RestartPreventExitStatus", "WatchdogSec"}
    ours |= {"TimeoutStopSec", "TimeoutStartSec"}
    daemon, once = ({k: v for k, v in unit(name)["Service"].items() if k not in ours} for name in SERVICES)
    assert daemon == once

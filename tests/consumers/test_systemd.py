"""A `systemctl` of our own in the path: a real program, whose output has the form of systemd's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from rotator.consumers.systemd import SystemdUnit
from rotator.domain.errors import Refused, RotatorError, Unavailable

STARTED = datetime(2026, 7, 1, 9, 12, 3, tzinfo=UTC)

SHOW = f"""#!/bin/sh
env > "$0.env"
echo "$@" > "$0.arguments"
echo "Type=simple"
echo "MainPID=4711"
echo "ExecMainStartTimestamp=$(/bin/date -d @{int(STARTED.timestamp())} '+%a %Y-%m-%d %H:%M:%S %Z')"
echo "LoadState=loaded"
echo "ActiveState=active"
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "systemctl"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("ROTATOR_SECRET", "not for others")
    write(program, SHOW)
    return program


def write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


def unit(name: str = "web.service", timeout: float = 10) -> SystemdUnit:
    return SystemdUnit(SystemdUnit.Settings(systemd=name), timedelta(seconds=timeout))


def shows(program: Path, **properties: str) -> None:
    lines = "".join(f'echo "{name}={value}"\n' for name, value in properties.items())
    write(program, f"#!/bin/sh\n{lines}")


def test_the_main_process_says_since_when_it_runs_whatever_our_time_zone_and_language_are(systemctl: Path) -> None:
    (found,) = unit().processes()
    assert (found.name, found.started_at) == ("pid 4711", STARTED)


def test_no_more_than_the_properties_of_the_one_unit_are_asked_for_and_nothing_of_ours_is_given(
    systemctl: Path,
) -> None:
    unit().processes()
    arguments = Path(f"{systemctl}.arguments").read_text().split()
    names = ("LoadState", "ActiveState", "MainPID", "ExecMainStartTimestamp")
    assert arguments == ["show", *(f"--property={name}" for name in names), "--", "web.service"]
    assert "not for others" not in Path(f"{systemctl}.env").read_text()


def test_a_unit_at_rest_has_no_process(systemctl: Path) -> None:
    for state in ("inactive", "failed"):
        shows(systemctl, LoadState="loaded", ActiveState=state, MainPID="0", ExecMainStartTimestamp="")
        assert unit().processes() == []


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({"LoadState": "not-found", "ActiveState": "inactive", "MainPID": "0"}, Refused),
        ({"LoadState": "masked", "ActiveState": "inactive", "MainPID": "0"}, Refused),
        ({"LoadState": "loaded", "ActiveState": "active", "MainPID": "0"}, Unavailable),  # oneshot, RemainAfterExit
        ({"LoadState": "loaded", "ActiveState": "activating", "MainPID": "0"}, Unavailable),
        ({"LoadState": "loaded", "ActiveState": "active", "MainPID": "7", "ExecMainStartTimestamp": ""}, Unavailable),
        ({}, Refused),
    ],
)
def test_what_does_not_say_since_when_it_runs_is_not_taken_for_gone(
    systemctl: Path, properties: dict[str, str], kind: type[RotatorError]
) -> None:
    shows(systemctl, **properties)
    with pytest.raises(kind):
        unit().processes()


def test_a_systemctl_that_fails_hangs_or_is_not_there_says_nothing(systemctl: Path) -> None:
    write(systemctl, "#!/bin/sh\necho LoadState=loaded\nexit 1\n")
    with pytest.raises(Unavailable, match="ended with 1"):
        unit().processes()
    write(systemctl, "#!/bin/sh\nexec /bin/sleep 30\n")
    with pytest.raises(Unavailable, match="did not answer"):
        unit(timeout=0.4).processes()
    systemctl.unlink()
    with pytest.raises(Refused, match="no program"):
        unit().processes()


@pytest.mark.parametrize("name", ["web", "--help.service", "web*.service", "a b.service", "web.timer", ".service/../x"])
def test_what_is_no_service_is_no_unit(name: str) -> None:
    with pytest.raises(ValidationError):
        unit(name)

"""Signals to real processes: the one that a pid file names, and no other."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from rotator.domain.errors import TemporaryError
from rotator.hooks.signal import Signal
from rotator.ports.hook import Occasion

LIMIT = timedelta(seconds=5)


class Reader:
    """A process that writes down when it is told to read anew."""

    def __init__(self, folder: Path) -> None:
        self.told = folder / "told"
        ready = folder / "ready"
        text = f"trap 'echo HUP >>{self.told}' HUP; touch {ready}; while :; do sleep 0.05; done"
        self.process = subprocess.Popen(["sh", "-c", text])
        self.pidfile = folder / "reader.pid"
        while not ready.exists():
            time.sleep(0.01)
        self.pidfile.write_text(f"{self.process.pid}\n")

    def heard(self) -> bool:
        for _ in range(1000):
            if self.told.exists():
                return True
            time.sleep(0.02)
        return False

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    found = Reader(tmp_path)
    yield found
    found.end()


def hup(pidfile: Path) -> Signal:
    return Signal(Signal.Settings.model_validate({"signal": "HUP", "pidfile": str(pidfile)}), LIMIT)


def failure(hook: Signal, occasion: Occasion) -> str:
    with pytest.raises(TemporaryError) as caught:
        hook.run(occasion)
    return caught.value.message


def test_the_process_of_a_pid_file_is_told(reader: Reader, occasion: Occasion) -> None:
    hook = hup(reader.pidfile)
    assert hook.name == f"signal HUP to {reader.pidfile}"
    hook.run(occasion)
    assert reader.heard()


def test_a_process_that_has_ended_is_a_failure(reader: Reader, occasion: Occasion) -> None:
    reader.end()
    assert failure(hup(reader.pidfile), occasion).endswith("which is not running")


def test_another_process_that_got_its_number_is_left_alone(reader: Reader, occasion: Occasion) -> None:
    os.utime(reader.pidfile, (time.time() - 3600, time.time() - 3600))  # written before this process began
    assert "the one that it names has ended" in failure(hup(reader.pidfile), occasion)
    assert reader.process.poll() is None
    assert not reader.told.exists()


@pytest.mark.parametrize("content", ["", "0", "-1", "12 13", "none", "9" * 70])
def test_what_is_no_number_of_a_process_is_a_failure(tmp_path: Path, occasion: Occasion, content: str) -> None:
    pidfile = tmp_path / "web.pid"
    pidfile.write_text(content)
    assert "holds no number" in failure(hup(pidfile), occasion)


def test_the_first_process_of_a_machine_is_never_signalled(tmp_path: Path, occasion: Occasion) -> None:
    (tmp_path / "web.pid").write_text("1")
    assert "names process 1" in failure(hup(tmp_path / "web.pid"), occasion)


def test_a_pid_file_that_others_may_write_or_that_is_none_is_not_believed(reader: Reader, occasion: Occasion) -> None:
    reader.pidfile.chmod(0o666)
    assert "everybody may write" in failure(hup(reader.pidfile), occasion)
    link, pipe = reader.told.with_name("link.pid"), reader.told.with_name("pipe.pid")
    link.symlink_to(reader.pidfile)
    os.mkfifo(pipe)
    assert "cannot be read" in failure(hup(link), occasion)
    assert "is no file" in failure(hup(pipe), occasion)
    assert "cannot be read" in failure(hup(pipe.with_name("gone.pid")), occasion)
    assert not reader.told.exists()


def test_a_folder_that_is_missing_is_told_beforehand(tmp_path: Path) -> None:
    assert hup(tmp_path / "web.pid").trouble() is None
    assert hup(tmp_path / "gone" / "web.pid").trouble() == f"there is no folder {tmp_path / 'gone'}"


def test_a_unit_is_told_by_systemctl(tmp_path: Path, occasion: Occasion, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Signal(Signal.Settings(signal="SIGUSR1", systemd="web@1.service"), LIMIT)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hook.trouble() == "there is no program systemctl"
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n[ ! -e {tmp_path}/no ] || exit 5\n')
    systemctl.chmod(0o755)
    assert hook.trouble() is None
    hook.run(occasion)
    assert (tmp_path / "asked").read_text() == "kill --kill-who=main --signal=SIGUSR1 -- web@1.service\n"
    (tmp_path / "no").touch()
    assert failure(hook, occasion) == "exit status 5"


@pytest.mark.parametrize(
    "settings",
    [
        {"signal": "HUP"},
        {"signal": "HUP", "pidfile": "/run/x.pid", "systemd": "x"},
        {"signal": "KILL", "systemd": "x"},
        {"signal": "NOPE", "systemd": "x"},
        {"signal": 1, "systemd": "x"},
        {"signal": "HUP", "systemd": "-H evil"},
    ],
)
def test_what_names_no_signal_or_no_one_receiver_is_an_error(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Signal.Settings.model_validate(settings)

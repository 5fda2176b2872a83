from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.consumers.pidfile import PidFile
from rotator.domain.errors import TemporaryError

SECOND = timedelta(seconds=1)


def consumer(path: Path) -> PidFile:
    return PidFile(PidFile.Settings(pidfile=path), SECOND)


def test_a_running_process_says_since_when_it_runs(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with subprocess.Popen(["sleep", "60"]) as process:
        after = datetime.now(UTC)
        path = tmp_path / "web.pid"
        path.write_text(f" {process.pid}\n")
        (found,) = consumer(path).processes()
        process.kill()
    assert found.name == f"pid {process.pid}"
    assert before - SECOND / 50 <= found.started_at <= after, "the system counts in hundredths of a second"
    assert consumer(path).name == str(path)


def test_the_name_of_a_program_confuses_nobody(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        (tmp_path / "pid").write_text(str(process.pid))
        (found,) = consumer(tmp_path / "pid").processes()
        process.kill()
    assert abs(datetime.now(UTC) - found.started_at) < 30 * SECOND


def test_a_process_that_has_ended_is_none_whether_or_not_anybody_has_noticed(tmp_path: Path) -> None:
    path = tmp_path / "web.pid"
    process = subprocess.Popen(["true"])
    path.write_text(str(process.pid))
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie from now on
    assert consumer(path).processes() == []
    process.wait()
    assert consumer(path).processes() == []


@pytest.mark.parametrize("content", ["", "web", "-1", "0", "4711 4712", "99999999999999999999", "é"])
def test_what_is_no_process_id_says_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "web.pid"
    path.write_text(content)
    with pytest.raises(TemporaryError, match="holds no number of a process"):
        consumer(path).processes()


def test_a_file_that_is_not_there_is_not_taken_for_a_program_that_has_ended(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="there is no file"):
        consumer(tmp_path / "web.pid").processes()


def test_something_else_than_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(TemporaryError, match="is no file"):
            consumer(path).processes()
    assert time.monotonic() - began < 5

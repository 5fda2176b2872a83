"""A file that grows by whole lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.domain.errors import Refused, Unavailable
from rotator.sinks.file import FileSettings, FileSink
from rotator.verifier.trail import verify_lines
from tests.sinks.conftest import ORIGIN, Trail, once


def sink(path: Path) -> FileSink:
    return FileSink(FileSettings(path=path), ORIGIN, timedelta(seconds=5))


def seqs(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_file_is_the_trail_and_ours_alone(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    trail.happen(1500)
    assert trail.send(sink(path)) == (1501, None)
    trail.happen(1)
    trail.send(sink(path))
    found = verify_lines(path.read_text(encoding="utf-8").splitlines())
    assert (found.count, found.problem) == (1502, None)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_off_is_not_left_in_the_middle(trail: Trail, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    trail.happen(5)
    trail.send(sink(path))
    whole = path.read_bytes()
    for cut in (b'{"seq":7', b"x" * 200_000):
        path.write_bytes(whole + cut)
        sink(path).take(trail.events[-1:])
        assert path.read_bytes() == whole + whole.splitlines(keepends=True)[-1]
    path.write_bytes(b"never a whole line")
    sink(path).take(trail.events[:1])
    assert path.read_bytes() == whole.splitlines(keepends=True)[0]


def test_a_file_that_was_rotated_away_is_begun_anew(trail: Trail, tmp_path: Path) -> None:
    path, one = tmp_path / "audit.jsonl", sink(tmp_path / "audit.jsonl")
    trail.send(one)
    path.rename(tmp_path / "audit.jsonl.1")
    trail.happen(2)
    trail.send(one)
    assert seqs(path) == [2, 3]


def test_nothing_is_written_through_a_link(trail: Trail, tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    assert trail.send(sink(tmp_path / "audit.jsonl")) == (0, f"cannot write {tmp_path}/audit.jsonl: it is a link")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_said_and_waited_for(trail: Trail, tmp_path: Path) -> None:
    one = sink(tmp_path / "logs" / "audit.jsonl")
    assert trail.send(one) == (0, f"cannot write {tmp_path}/logs/audit.jsonl: No such file or directory")
    (tmp_path / "logs").mkdir()
    assert trail.send(one) == (1, None)


WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from rotator.access.formats import Origin
from rotator.ports.store import StoredEvent
from rotator.sinks.file import FileSettings, FileSink

one = FileSink(FileSettings(path=Path(sys.argv[1])), Origin("test", "h"), timedelta(seconds=5))
for seq in range(1, 100_000):
    one.take([StoredEvent(seq=seq, body='{"seq":%d,"pad":"%s"}' % (seq, "x" * 5000), hash="h")])
    print(seq, flush=True)
"""


@pytest.mark.parametrize("lines", [3, 7])
def test_a_writer_that_is_killed_leaves_whole_lines_and_all_that_it_said_it_wrote(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "audit.jsonl"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=environ) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(lines)]
        time.sleep(0.001 * lines)
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout.read().split()]
    trail = Trail()
    trail.happen()
    sink(path).take(trail.events[-1:])
    assert once(seqs(path))[: len(said)] == said


def test_a_look_makes_no_file_and_finds_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink(path).look()
    assert not path.exists()
    path.write_text("{}\n")
    sink(path).look()
    assert path.read_text() == "{}\n"
    with pytest.raises(Unavailable, match="there is no folder"):
        sink(tmp_path / "logs" / "audit.jsonl").look()
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(Refused, match="it is a link"):
        sink(tmp_path / "link").look()

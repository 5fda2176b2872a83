from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rotator.consumers.drop import FileDrop
from rotator.domain.errors import Unavailable
from rotator.ports.consumer import Word, Words

PRINT = "0123456789abcdef" * 2
AT = datetime(2026, 11, 26, 9, 12, tzinfo=UTC)


def leave(folder: Path, name: str, content: str = PRINT) -> Path:
    path = folder / name
    path.write_text(content)
    os.utime(path, (AT.timestamp(), AT.timestamp()))
    return path


def test_a_file_says_what_it_holds_and_when_it_was_written(tmp_path: Path) -> None:
    leave(tmp_path, "web-1", f"{PRINT}\n")
    assert FileDrop(tmp_path).read() == Words(words=[Word(consumer="web-1", fingerprint=PRINT, at=AT)], problems=[])


def test_a_drop_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert FileDrop(tmp_path / "web").read() == Words()


def test_nothing_is_followed_out_of_it(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    leave(elsewhere, "secret")
    (tmp_path / "web").symlink_to(elsewhere)
    with pytest.raises(Unavailable, match="cannot read the drop"):
        FileDrop(tmp_path / "web").read()
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "mail-1").symlink_to(elsewhere / "secret")
    left = FileDrop(tmp_path / "mail").read()
    assert (list(left.words), len(left.problems)) == ([], 1)


@pytest.mark.parametrize("content", ["no fingerprint", PRINT[1:], PRINT.upper(), PRINT * 100, f"{PRINT}\n{PRINT}", "é"])
def test_what_is_no_fingerprint_is_a_problem_that_is_not_repeated(tmp_path: Path, content: str) -> None:
    leave(tmp_path, "web-1", content)
    left = FileDrop(tmp_path).read()
    assert (list(left.words), list(left.problems)) == ([], ["web-1: holds no fingerprint"])


def test_a_flood_of_files_is_read_to_a_limit(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"web-{number}").touch()
    left = FileDrop(tmp_path).read()
    assert (list(left.words), list(left.problems)) == ([], ["there are more than 1000 files"])

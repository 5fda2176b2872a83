"""The pictures of docs/pictures/, made from what the program really prints: `make pictures`.

An installation that `rotator init` has just made is rotated twice; each screen is a command in a process of its own, on
a terminal where that makes a difference. Only the folder's name is another one.
"""

from __future__ import annotations

import html
import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tests.docs.generate import DOCS

PICTURES = DOCS / "pictures"
WIDTH = 110
FOLDER = "/home/you/keyturn"

SCREENS = {
    "check": "rotator check",
    "rotate": "rotate --now session-secret",
    "status": "rotator status",
    "explain": "rotator explain session-secret",
    "plan": "rotator plan --days 90",
}
"""Picture → the command that it shows, in the order in which they are typed; `rotate` is typed once before."""

# Nothing is fetched by whoever looks at a picture: the letters are those of the reader's machine.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_CHANGES = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\+[0-9a-f]{8}\+\S+|gen-[0-9a-f]+|\d+|[\s│─━]+")


def printed(folder: Path) -> Iterator[tuple[str, str]]:
    """Each screen with what its command prints in this empty folder. Raises CalledProcessError where one fails."""
    rotator, rotate = (sys.executable, "-m", "rotator"), SCREENS["rotate"]
    environment = {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "COLUMNS": str(WIDTH),
        "ROTATOR_ACTOR": "you@laptop",
        "TZ": "UTC",
        "PYTHONPATH": str(DOCS.parent),
    }

    def run(command: str, *, terminal: bool) -> str:
        words = command.removeprefix("rotator ").split()
        return _run((*rotator, *words), folder, environment, terminal=terminal).replace(str(folder), FOLDER)

    run("rotator init", terminal=False)
    for name, command in SCREENS.items():
        if command == rotate:
            run(command, terminal=False)
        # On a terminal a rotation draws over its own lines, which no picture can show.
        yield name, run(command, terminal=command != rotate)


def _run(command: tuple[str, ...], folder: Path, environment: Mapping[str, str], *, terminal: bool) -> str:
    if not terminal:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        return done.stdout
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        text = b"".join(_pieces(ours))
    os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, text)
    return text.decode().replace("\r\n", "\n")


def _pieces(terminal: int) -> Iterator[bytes]:
    # How Linux says that the last writer has closed a terminal is an OSError.
    with suppress(OSError):
        while piece := os.read(terminal, 65536):
            yield piece


def picture(name: str, text: str) -> str:
    """The screen as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", legacy_windows=False)
    console.print(Text(f"$ {SCREENS[name]}", style="bold"))
    console.print(Text.from_ansi(text))
    return console.export_svg(title="keyturn", code_format=_FORMAT, unique_id=f"keyturn-{name}")


def said(svg: str) -> str:
    """The words of a picture that are the same each time."""
    lines = re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL)
    return lasting(html.unescape("".join(lines)))


def lasting(text: str) -> str:
    """A text without what is another thing each time: numbers, ids, and where lines are broken."""
    return _CHANGES.sub("", text)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for screen, output in printed(Path(place)):
            (PICTURES / f"{screen}.svg").write_text(picture(screen, output), encoding="utf-8")

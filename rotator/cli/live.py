"""The live table of `rotate --now` on a terminal."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rotator.cli import words
from rotator.cli.say import clean
from rotator.cli.screens import MANY, Body, Screen
from rotator.cli.words import Entry
from rotator.domain.plans import ROTATION
from rotator.engine.report import Report
from rotator.ports.store import StoredEvent

_STEPS = [step.verb.value for step in ROTATION]
_CHROME = 8  # lines of the screen that are not rows: title, heads, borders, the summary, the prompt


class LiveTable(Screen):
    """One row per credential: its step, each destination's state, what it waits for and until when."""

    interval = 0.25

    def __init__(self) -> None:
        super().__init__()
        self._began = self.monotonic()
        self._next = self._began
        self._live = Live(
            console=Console(file=sys.stdout),
            auto_refresh=False,
            redirect_stderr=sys.stderr.isatty(),
            vertical_overflow="crop",
        )

    def show(self, event: StoredEvent, body: Body) -> None:
        """Events are seen in the table."""

    def draw(self, report: Report, *, stopping: bool = False, last: bool = False) -> None:
        """Draw all rows anew, with as much of them as the screen holds."""
        looked = self.monotonic()
        if looked < self._next and not last:
            return
        table = self._table(report.status(self.names), report.at, stopping=stopping)
        if not self._live.is_started:
            self._live.start()
        self._live.update(table, refresh=True)
        # Many credentials take long to read: then look less often.
        self._next = self.monotonic() + 4 * (self.monotonic() - looked)

    def close(self) -> None:
        """Leave the last table on the screen."""
        self._live.stop()

    def _table(self, status: dict[str, Any], at: datetime, *, stopping: bool) -> Table:
        then = ", stopping after the step in hand" if stopping else ""
        now = self.monotonic()
        then = f"; {self.headway.said(now)}{then}" if len(self.names) >= MANY else then
        table = Table(
            title=f"environment {status['environment']}, {now - self._began:.0f} s{then}",
            title_justify="left",
            title_style="",
            expand=False,
        )
        for head in ("credential", "step", "destinations", "waits for"):
            table.add_column(head, overflow="fold")
        done = {name for name in self.names if self.numbers(name, "promote.succeeded")}
        entries = status["credentials"]
        room = max(self._live.console.size.height - _CHROME, 3)
        if len(entries) > room:  # what is done needs no look
            entries = sorted(entries, key=lambda entry: entry["name"] in done)
        for entry in entries[:room]:
            table.add_row(*self._row(entry, at, done=entry["name"] in done))
        if len(entries) > room:
            left = entries[room:]
            finished = sum(1 for entry in left if entry["name"] in done)
            table.add_row(f"and {len(left)} more", f"{finished} done", "", "")
        return table

    def _row(self, entry: Entry, at: datetime, *, done: bool) -> list[Text]:
        rotation = entry["rotation"]
        if rotation is None:
            step = Text("current", style="green") if done else Text(entry["status"])
            if entry["status"] == "blocked":
                step = Text("blocked", style="bold red")
            current = entry["current"]
            version = f"version {current['version']}" if current else ""
            return [Text(entry["name"]), Text.assemble(step, " ", version), _places(entry), Text("")]
        position = _STEPS.index(rotation["step"]) + 1 if rotation["step"] in _STEPS else len(_STEPS)
        blocked = entry["status"] == "blocked"
        step = Text(f"{rotation['step']} ({position} of {len(_STEPS)})", style="bold red" if blocked else "bold")
        return [Text(entry["name"]), step, _deliveries(rotation), _waits(rotation, at)]


def _places(entry: Entry) -> Text:
    return Text(clean("\n".join(f"{row['address']}: {row['state']}" for row in entry["destinations"])))


def _deliveries(rotation: dict[str, Any]) -> Text:
    styles = {"planned": "dim", "pushed": "yellow", "verified": "green"}
    lines = Text()
    for row in rotation["deliveries"]:
        if lines:
            lines.append("\n")
        lines.append(clean(f"{row['address']}: "))
        lines.append(row["state"], style=styles.get(row["state"], ""))
        for hook in row["hooks"]:
            style = {"done": "green", "failing": "bold red"}.get(hook["state"], "dim")
            lines.append(f", {hook['kind']} ").append(hook["state"], style=style)
    return lines


def _waits(rotation: dict[str, Any], at: datetime) -> Text:
    lines = []
    for row in (rotation, *rotation["deliveries"]):
        if row["reason"]:
            until = ""
            if row["not_before"]:
                left = (datetime.fromisoformat(row["not_before"]) - at).total_seconds()
                until = f", until {row['not_before'][11:19]} UTC ({words.age(max(left, 0))})"
            lines.append(f"{row['message'] or row['reason']}{until}")
    return Text(clean("\n".join(dict.fromkeys(lines))), style="yellow")

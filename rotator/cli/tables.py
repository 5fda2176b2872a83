"""Tables: drawn on a terminal, aligned columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rotator.cli import say

STYLES = {
    "blocked": "bold red",
    "overdue": "bold red",
    "failed": "bold red",
    "warning": "yellow",
    "rotating": "yellow",
    "due": "yellow",
    "ok": "green",
}
"""How words of a table look on a terminal."""


def show(heads: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str] = STYLES) -> None:
    """Print a table on stdout."""
    if not say.on_terminal():
        for line in aligned([[head.upper() for head in heads], *rows]):
            say.tell(line)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(Text(say.clean(cell), style=styles.get(cell, "")) for cell in row))
    Console(file=sys.stdout).print(table)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with their columns one below the other, two blanks between them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

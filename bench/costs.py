"""What one thing costs: the rows of what is kept that docs/scale.md goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import growth, kept, memory, tick
from bench.measure import RESULTS


class Cost(NamedTuple):
    """In words, and the row that has it."""

    words: str
    script: str
    what: str
    case: str  # or how it begins


COSTS = (
    Cost("a rotation (IAM to Vault) asks of PostgreSQL", "growth", growth.ASKED, "PostgreSQL"),
    Cost("and of SQLite", "growth", growth.ASKED, "SQLite"),
    Cost("of its transactions that write, append to the trail", "growth", growth.HEAD, "PostgreSQL"),
    Cost(
        "a look (`engine.watch`) at one credential, against a rotation; PostgreSQL", "growth", growth.LOOK, "PostgreSQL"
    ),
    Cost("the same on SQLite", "growth", growth.LOOK, "SQLite"),
    Cost("a rotation leaves in PostgreSQL, indexes included", "growth", growth.STAYS, "PostgreSQL"),
    Cost("of that, in the trail", "growth", growth.TABLE, "PostgreSQL, `event`"),
    Cost("a rotation leaves in SQLite", "growth", growth.STAYS, "SQLite"),
    Cost("and writes to PostgreSQL's log", "growth", growth.LOG, "PostgreSQL"),
    Cost("updates of the lease of a rotation", "growth", growth.HOT, "PostgreSQL"),
    Cost("connections of a process with 8 workers", "growth", growth.CONNECTIONS, "PostgreSQL"),
    Cost("rotations with 32 workers", "scripts", "throughput with 32 workers", "100 ms a call"),
    Cost("rotations of 4 replicas", "replicas", "throughput of replicas, of linear", "4 replicas"),
    Cost("a drill", "drill", "time of the whole drill", ""),
    Cost("memory of an idle daemon, 100,000 credentials", "memory", memory.MANY, "100,000"),
    Cost("its start", "memory", memory.START, "100,000"),
    Cost("a tick with nothing due, 100,000 credentials on PostgreSQL", "tick", tick.QUICK, "PostgreSQL, 100,000"),
)


def table(folder: Path = RESULTS) -> str:
    """A line for each that has been measured: what was, the command, and the file that keeps it."""
    return "\n".join(["| | measured | by | kept in |", "|---|---|---|---|", *_lines(folder), ""])


def _lines(folder: Path) -> Iterator[str]:
    for words, script, what, case in COSTS:
        row = next((row for row in kept.rows(script, what, folder) if row["case"].startswith(case)), None)
        if row is not None:
            file = f"[{script}.json](../bench/results/{script}.json)"
            yield f"| {words} | {row['detail']} | `{kept.command(script, folder)}` | {file} |"

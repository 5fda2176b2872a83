"""What a daemon with nothing to do holds in memory, and how long it takes to start, by the number of credentials.

Memory is compared with a bare process that has imported the very same modules, the start with parsing the file alone.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, update

from bench import fleet
from bench.measure import Goal, Goals, Results, parser, resident
from rotator import wiring
from rotator.config import load
from rotator.store import tables

FEW, MANY, START = "memory of a daemon, up to 500 credentials", "memory of a daemon", "start of a daemon"
BARE, PARSED = "a process with the same imports", "parsing its files alone"
FEWEST = 500

GOALS: Goals = {FEW: Goal(at_most=1.3), MANY: None, START: None}
TINY = ("--sizes", "10", "--rounds", "1", "--settles", "0.5")

_NOWHERE = "http://127.0.0.1:9"  # nobody is asked anything
_READY_WITHIN = 900.0  # seconds

DAEMON = """
import sys
from rotator.cli import rotator

try:
    rotator()
finally:
    print(*sys.modules)
"""
IMPORTS = """
import contextlib, importlib, sys

for name in sys.argv[1:]:
    with contextlib.suppress(Exception):
        importlib.import_module(name)
print(flush=True)
sys.stdin.read()
"""
PARSE = """
import sys, time, yaml

began = time.perf_counter()
for name in sys.argv[1:]:
    with open(name) as file:
        yaml.load(file, yaml.CSafeLoader)
print(time.perf_counter() - began)
"""


def installed(folder: Path, count: int) -> Path:
    """A configuration whose credentials were all looked at just now, so that nothing is due."""
    file = fleet.write(folder, {"aws": fleet.names(count)}, {"aws": _NOWHERE})
    with wiring.opened(load(file), wiring.surroundings()) as service:
        now = service.store.now()
        known = [(service.store.credential(name), managed.edition) for name, managed in service.managed.items()]
        rows = [{"of": row.id, "later": now + timedelta(hours=1), "as": edition} for row, edition in known if row]
        idle: dict[str, Any] = {"idle_until": bindparam("later"), "edition": bindparam("as")}
        with service.store.database.write() as connection:
            connection.execute(
                update(tables.lease).where(tables.lease.c.credential_id == bindparam("of")).values(idle), rows
            )
    return file


@contextmanager
def daemon(file: Path) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """A daemon that is ready, and the seconds that it took to be."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"{folder}/notify")
        told.settimeout(_READY_WITHIN)
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", DAEMON, "daemon", "--interval", "1s", "--config", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"},
        ) as process:
            try:
                while b"READY=1" not in told.recv(4096):
                    pass
                yield process, time.perf_counter() - began
            finally:
                process.kill()


def modules(file: Path, settles: float) -> list[str]:
    """What a daemon has imported once it works."""
    with daemon(file) as (process, _):
        time.sleep(settles)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        return [name for name in process.stdout.read().split() if name != "__main__"]


def bare(names: Sequence[str]) -> float:
    """MB of a process that has imported these and does nothing."""
    command = [sys.executable, "-c", IMPORTS, *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return resident(process.pid)


def parsed(file: Path) -> float:
    """Seconds to parse the file, and those that it includes, in a bare process."""
    command = [sys.executable, "-c", PARSE, *map(str, file.parent.rglob("*.yaml"))]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def measure(results: Results, file: Path, count: int, imports: Sequence[str], rounds: int, settles: float) -> None:
    """Start it and look, several times."""
    held: list[tuple[float, float]] = []
    took: list[tuple[float, float]] = []
    for _ in range(rounds):
        with daemon(file) as (process, seconds):
            time.sleep(settles)
            held.append((resident(process.pid), bare(imports)))
        took.append((seconds, parsed(file)))
    case = f"{count:,} credentials"
    ours, theirs = map(statistics.median, zip(*held, strict=True))
    detail = f"{ours:.0f} MB against {theirs:.0f} MB: {(ours - theirs) * 1024 / count:.1f} kB a credential"
    results.add(FEW if count <= FEWEST else MANY, case, BARE, [one / other for one, other in held], detail)
    ours, theirs = map(statistics.median, zip(*took, strict=True))
    results.add(START, case, PARSED, [one / other for one, other in took], f"{ours:.2f} s against {theirs:.3f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="*", default=[500, 10_000], help="100000 takes some minutes")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--settles", type=float, default=4, help="seconds until memory is looked at: some ticks")
    asked = options.parse_args(arguments)
    results = Results("memory", GOALS, asked.results)
    with tempfile.TemporaryDirectory() as folder:
        imports = modules(installed(Path(folder), 1), asked.settles)
    for count in asked.sizes:
        with tempfile.TemporaryDirectory() as folder:
            measure(results, installed(Path(folder), count), count, imports, asked.rounds, asked.settles)
    return results.end()


if __name__ == "__main__":
    sys.exit(main())

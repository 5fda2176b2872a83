"""What goes wrong: each fault is a function that breaks something, waits, and mends it. Chance comes from outside."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Self

from rotator.testbed.gate import Answer, CutMidBody, Delay, Fault, Lose, Refuse
from tests.chaos.stage import BY_HAND, LEASE, Stage
from tests.processes import forked

STORM = 50

QUIET = {"database": (1, 5), "workers": (0.2, 1), "outside": (0.5, 3), "people": (0.5, 3)}
"""How many seconds pass between two faults of a kind, from and to."""


class Troubles:
    """The faults, and how often each has come. Several threads may make trouble, each of its own kind."""

    def __init__(self, stage: Stage, seed: int, kinds: Collection[str]) -> None:
        self.stage = stage
        self.seed = seed
        self.counted: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.database = threading.Lock()
        """Whoever holds it may break the database, or rely on it."""
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._make, args=(name, faults), name=name)
            for name, faults in KINDS.items()
            if name in kinds
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def pause(self, seconds: float) -> None:
        """Wait, or less where the end has come."""
        self._stop.wait(seconds)

    def _make(self, name: str, faults: tuple[Make, ...]) -> None:
        chance = random.Random(f"{self.seed} {name}")
        while not self._stop.is_set():
            fault = chance.choice(faults)
            with self.database if fault in (*DATABASE, storm) else nullcontext():
                fault(self, chance)
            self.counted[fault.__name__] += 1
            self.pause(chance.uniform(*QUIET[name]))


Make = Callable[[Troubles, random.Random], None]


# the database


def postgres_killed(troubles: Troubles, chance: random.Random) -> None:
    troubles.stage.postgres.kill()
    troubles.pause(chance.uniform(0, 2))
    troubles.stage.postgres.start()


def postgres_restarted(troubles: Troubles, chance: random.Random) -> None:
    troubles.stage.postgres.stop()
    troubles.pause(chance.uniform(0, 2))
    troubles.stage.postgres.start()


def database_cut(troubles: Troubles, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        troubles.stage.database.cut()
        troubles.pause(chance.uniform(0.05, 0.5))


def database_unreachable(troubles: Troubles, chance: random.Random) -> None:
    with troubles.stage.database.down():
        troubles.pause(chance.uniform(0.5, 2 * LEASE))


def database_answers_held(troubles: Troubles, chance: random.Random) -> None:
    with troubles.stage.database.held("answers", lost=chance.random() < 0.5):
        troubles.pause(chance.uniform(0.2, 1.5 * LEASE))


def database_silent(troubles: Troubles, chance: random.Random) -> None:
    with troubles.stage.database.held("requests", "answers", lost=chance.random() < 0.5):
        troubles.pause(chance.uniform(0.2, 1.5 * LEASE))


def database_slow(troubles: Troubles, chance: random.Random) -> None:
    troubles.stage.database.delay = chance.uniform(0.01, 0.1)
    troubles.pause(chance.uniform(1, 3))
    troubles.stage.database.delay = 0


DATABASE: tuple[Make, ...] = (
    postgres_killed,
    postgres_restarted,
    database_cut,
    database_unreachable,
    database_answers_held,
    database_silent,
    database_slow,
)


# the workers


def frozen(troubles: Troubles, chance: random.Random) -> None:
    """SIGSTOP for one to three lease times: it wakes and believes that its lease is its own."""
    victims = chance.sample(troubles.stage.daemons, k=chance.randint(1, len(troubles.stage.daemons) - 1))
    for daemon in victims:
        daemon.send(signal.SIGSTOP)
    for daemon in victims:
        troubles.pause(LEASE * chance.uniform(1, 3) / len(victims))
        daemon.send(signal.SIGCONT)


def killed(troubles: Troubles, chance: random.Random) -> None:
    daemon = chance.choice(troubles.stage.daemons)
    daemon.kill()
    troubles.pause(chance.uniform(0, 1))
    daemon.start()


def reloaded(troubles: Troubles, chance: random.Random) -> None:
    chance.choice(troubles.stage.daemons).reload()


WORKERS: tuple[Make, ...] = (frozen, frozen, frozen, frozen, killed, reloaded)


# providers and destinations


def openbao_sealed(troubles: Troubles, chance: random.Random) -> None:
    troubles.stage.openbao.seal()
    troubles.pause(chance.uniform(0.5, 3))
    troubles.stage.openbao.unseal()


def answers_faulty(troubles: Troubles, chance: random.Random) -> None:
    """Of one server, for some of the next requests: the answer is lost, cut, late, or another one."""
    stage = troubles.stage
    gate = chance.choice([stage.vault_gate, stage.aws_gate, *stage.openai_gates])
    faults: list[Fault] = [
        Lose(),
        CutMidBody(),
        Refuse(),
        Delay(chance.uniform(0.1, 2)),
        Answer(503),
        Answer(500, effect=True),
        Answer(429, {"Retry-After": "1"}),
    ]
    share = chance.uniform(0.05, 0.5)
    for _ in range(chance.randint(1, 6)):
        gate.on(lambda _request: chance.random() < share, chance.choice(faults))


OUTSIDE: tuple[Make, ...] = (openbao_sealed, answers_faulty, answers_faulty, answers_faulty)


# people and CronJobs


def by_hand(troubles: Troubles, chance: random.Random) -> None:
    """`rotate --now` of the credential that no schedule rotates."""
    _rotate(troubles, 1, "--now", BY_HAND, "--timeout", "10s")
    troubles.pause(chance.uniform(0, 3))


def cron_job(troubles: Troubles, chance: random.Random) -> None:
    """A pass: `rotate`, and then it ends."""
    _rotate(troubles, chance.randint(1, 2))


def storm(troubles: Troubles, chance: random.Random) -> None:
    """Fifty `rotate --now` of one credential at once, while the database is well."""
    name = chance.choice([tenant.name for tenant in troubles.stage.tenants])
    _rotate(troubles, STORM, "--now", name, "--timeout", "10s")


PEOPLE: tuple[Make, ...] = (*(by_hand,) * 12, *(cron_job,) * 4, storm)


def _rotate(troubles: Troubles, times: int, *options: str) -> None:
    place = troubles.stage.place
    started = [
        forked.Process(target=_command, args=(str(place.file), str(place.folder / "people.log"), options))
        for _ in range(times)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        troubles.statuses[f"{'rotate --now' if options else 'rotate'}: {process.exitcode}"] += 1
        process.kill()


def _command(file: str, log: str, options: tuple[str, ...]) -> None:
    from rotator import cli

    with Path(log).open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = ["rotate", "--config", file, *options]
    cli.rotate()


KINDS: Mapping[str, tuple[Make, ...]] = {
    "database": DATABASE,
    "workers": WORKERS,
    "outside": OUTSIDE,
    "people": PEOPLE,
}

"""A run of chaos, its figures, and what must be true when it is over."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from rotator.domain.errors import StoreUnavailable
from rotator.testbed.process import NotReady, wait_until
from rotator.verifier.trail import verify_store
from tests.chaos.faults import KINDS, Troubles
from tests.chaos.stage import BY_HAND, Stage
from tests.crash.worlds import OpenAIKeys
from tests.engine.place import Consumer

SETTLES_WITHIN = 180.0
"""Seconds after the last fault; a busy machine is not taken for a defect."""


@dataclass
class Figures:
    """What a run measured."""

    seed: int
    seconds: float = 0.0
    rotations: int = 0
    takeovers: int = 0
    claims: int = 0
    creates: int = 0
    lost: int = 0  # creates whose answer was lost
    looks: int = 0
    dead: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"seed {self.seed}, {self.seconds:.0f} s",
            f"{self.rotations:,} rotations, {self.creates:,} creates ({self.lost:,} answers lost)",
            f"{self.claims:,} claims, {self.takeovers:,} of them takeovers of an expired or orphaned lease",
            f"{self.looks:,} looks of the consumer, {self.dead:,} dead keys",
            "faults: " + ", ".join(f"{name} {times:,}" for name, times in sorted(self.faults.items())),
            "exit statuses: " + ", ".join(f"{name} ({times:,})" for name, times in sorted(self.statuses.items())),
            f"{len(self.violations):,} violations",
            *self.violations,
        ]


_COUNTING = """
CREATE TABLE takeover (credential_id text, epoch bigint);
CREATE FUNCTION note_takeover() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.epoch > OLD.epoch AND NOT OLD.released THEN INSERT INTO takeover VALUES (NEW.credential_id, NEW.epoch); END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER note_takeover AFTER UPDATE ON lease FOR EACH ROW EXECUTE FUNCTION note_takeover();
"""


class Ledger:
    """Counts takeovers in the database itself, with the claim: a lease that was never released. Looks past the gate."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+psycopg", "postgresql")
        self._known = 0
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(_COUNTING)

    @property
    def takeovers(self) -> int:
        """How many so far; while the database is down, how many were known before."""
        with suppress(psycopg.Error), psycopg.connect(self._url, connect_timeout=2) as connection:
            row = connection.execute("SELECT count(*) FROM takeover").fetchone()
            self._known = row[0] if row else 0
        return self._known


def run(
    folder: Path,
    *,
    seed: int,
    seconds: float,
    daemons: int = 3,
    takeovers: int = 0,
    rotations: int = 0,
    kinds: Collection[str] = tuple(KINDS),
) -> Figures:
    """Make trouble for so long, or until there were so many takeovers and rotations; then let everything settle."""
    figures, is_asked = Figures(seed), takeovers > 0 or rotations > 0
    began = time.monotonic()
    with Stage(folder, daemons) as stage, stage.serving():
        ledger = Ledger(stage.direct_url)
        looks = [partial(tenant.look, shelf) for tenant in stage.tenants for shelf in tenant.shelves]
        _until_all_rotated_once(stage)
        with Consumer(looks, 0.05) as consumer:
            with Troubles(stage, seed, kinds) as troubles:
                while time.monotonic() - began < seconds:
                    troubles.pause(1)
                    if is_asked and ledger.takeovers >= takeovers and _rotations(stage) >= rotations:
                        break
            figures.faults, figures.statuses = troubles.counted, troubles.statuses
            _settle(stage, figures)
            statuses = [daemon.stop() for daemon in stage.daemons]
        if any(statuses):
            figures.violations.append(f"daemons ended with {statuses}")
        figures.looks, figures.dead, figures.takeovers = consumer.seen, consumer.dead, ledger.takeovers
        _count(stage, figures)
        _judge(stage, figures)
    figures.seconds = time.monotonic() - began
    return figures


def _until_all_rotated_once(stage: Stage) -> None:
    def all_current() -> bool:
        return all(status["current"] for status in stage.place.statuses())

    if not wait_until(all_current, within=SETTLES_WITHIN):
        message = f"the daemons did not begin: {[daemon.said[-500:] for daemon in stage.daemons]}"
        raise NotReady(message)


def _settle(stage: Stage, figures: Figures) -> None:
    """No more faults and nothing new: what is under way comes to its end."""
    stage.mend()
    stage.write(always=False)
    for daemon in stage.daemons:
        daemon.reload()

    def quiet() -> bool:
        try:
            with stage.place.service() as service:
                return all(tenant.is_quiet(service) for tenant in stage.tenants)
        except StoreUnavailable:  # PostgreSQL has only just been started
            return False

    if not wait_until(quiet, within=SETTLES_WITHIN):
        figures.violations.append("not everything settled")


def _count(stage: Stage, figures: Figures) -> None:
    events = _events(stage)
    figures.rotations = sum(event["event"] == "promote.succeeded" for event in events)
    figures.creates = sum(event["event"] == "create.started" for event in events)
    figures.lost = sum(event["event"] == "create.failed" and event["reason"] == "lost_answer" for event in events)
    with psycopg.connect(stage.direct_url.replace("postgresql+psycopg", "postgresql")) as connection:
        found = connection.execute("SELECT sum(epoch) FROM lease").fetchone()
    figures.claims = int(found[0]) if found else 0


def _judge(stage: Stage, figures: Figures) -> None:
    """What must be true, whatever happened."""
    wrong = figures.violations
    with stage.place.service() as service:
        wrong += [f"{tenant.name}: {what}" for tenant in stage.tenants for what in tenant.violations(service)]
        problem = verify_store(service.store).problem
    wrong += [f"the audit trail: {problem}"] * (problem is not None)
    events = _events(stage)
    started = Counter((e["credential"], e["version"]) for e in events if e["event"] == "create.started")
    wrong += [f"{name} version {number} was begun {n} times" for (name, number), n in started.items() if n > 1]
    by_hand = sum(times for (name, _), times in started.items() if name == BY_HAND)
    if stage.iam_creates > by_hand:
        wrong.append(f"{stage.iam_creates} requests for {by_hand} access keys")
    announced = {event["key_id"] for event in events if event["event"] == "delete.started"}
    for tenant in stage.tenants:
        if isinstance(tenant.issuer, OpenAIKeys):
            made = tenant.issuer.emulator.keys()
            gone = {key.id for key in made if key.state == "deleted"}
            wrong += [f"{tenant.name}: {key} was deleted unannounced" for key in gone - announced]
    for number, daemon in enumerate(stage.daemons):
        said = daemon.said
        wrong += [f"daemon {number} met a bug" for mark in ("Traceback", "this is a bug") if mark in said]
        wrong += [f"daemon {number} said a secret"] * ("CANARY-" in said)
    if list(stage.place.folder.glob(".*rotator*")):
        wrong.append("a file with a secret was left behind")


def _events(stage: Stage) -> list[dict[str, Any]]:
    with stage.place.service(unlock=False) as service:
        return [json.loads(event.body) for event in service.store.events()]


def _rotations(stage: Stage) -> int:
    """So far; asked past the gate."""
    query = "SELECT count(*) FROM rotation WHERE state = 'completed'"
    try:
        with psycopg.connect(stage.direct_url.replace("postgresql+psycopg", "postgresql")) as connection:
            found = connection.execute(query).fetchone()
    except psycopg.Error:
        return 0
    return int(found[0]) if found else 0

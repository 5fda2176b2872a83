"""Writes what today's release leaves in the database at each moment of its work: `make record-plans`, before a release.

Each file is one run of commands at one provider: the trail, and a snapshot for each situation that a worker can be
killed in. A later release must be able to go on from every one of them (`test_plans`). Files of releases that are
out are never written anew: their revision is their name.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rotator.domain.errors import RotatorError
from rotator.domain.model import Cause
from rotator.engine import operator, rehearsal
from rotator.engine.reactivation import reactivate
from rotator.engine.rollback import rollback
from rotator.engine.work import Surroundings
from rotator.ports.store import StoredEvent
from rotator.store import schema
from tests.crash.points import Points, no_answer
from tests.engine.place import Place
from tests.plans.installation import NAME, Installation, Snapshot, emulated

RECORDED = Path(__file__).parent / "recorded"
ALWAYS = ["MON-SUN 00:00-24:00"]


class Observed(Place):
    """Looks after each commit that an event tells of."""

    look: Callable[[], None] = staticmethod(lambda: None)

    def surroundings(self) -> Surroundings:
        def observe(event: StoredEvent) -> None:
            plain.observe(event)
            self.look()

        plain = super().surroundings()
        return replace(plain, observe=observe)


def record(kind: str, act: Callable[[Installation], None], known: set[str]) -> None:
    """One run in a folder of its own, written to its file but for the situations that are known."""
    found: dict[str, Snapshot] = {}
    with tempfile.TemporaryDirectory() as name, emulated(kind) as emulator:
        installation = Installation(Path(name), emulator)
        place = Observed(installation.folder, engine=installation.place.engine, policy=installation.place.policy)
        installation.place = place
        installation.configure()

        def look() -> None:
            snapshot = installation.snapshot()
            situation = installation.situation(snapshot)
            if situation not in known:
                known.add(situation)
                found[situation] = snapshot

        place.look = look
        act(installation)
        key = (installation.folder / "rotator.key").read_text()
        content = {"provider": kind, "key": key, "events": installation.events(), "snapshots": found}
    path = RECORDED / schema.REVISIONS[-1] / f"{act.__name__}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8")


# What is run


def rotated(web: Installation) -> None:
    """The first key, another one, and the old one taken away."""
    web.place.rotate(NAME)
    web.place.rotate(NAME, now=True)
    web.place.rotate(NAME, now=True, cause=Cause.COMPROMISED)


def given_up(web: Installation) -> None:
    """The answer to a create is lost; a write's is, and the rotation is abandoned."""
    web.place.rotate(NAME)
    points = Points()
    points.arm("after provider.create", no_answer)
    web.place.rotate(NAME, now=True, seam=points)
    points.arm("after destination.write", no_answer)
    web.place.rotate(NAME, now=True, seam=points, patience=0)
    with web.place.service() as service, suppress(RotatorError), service.running().hold(NAME) as work:
        operator.abandon(work)
    web.place.rotate(NAME)


def rolled_back(web: Installation) -> None:
    """The key before is made current again."""
    web.place.rotate(NAME)
    web.place.policy["grace"] = "1h"
    web.configure()
    web.place.rotate(NAME, now=True)
    web.place.policy["grace"] = "0s"
    web.configure()
    with web.place.service() as service, service.running().hold(NAME) as work:
        rollback(work)
    web.place.rotate(NAME)


def handed_over(web: Installation) -> None:
    """A person makes the keys, the old one is disabled, and a person deletes it."""
    web.finish()
    web.place.rotate(NAME, now=True)
    web.finish()


def browned_out(web: Installation) -> None:
    """The old key is disabled for a while, comes back, is disabled for good, and is wanted back."""
    web.finish()
    web.place.policy |= {"grace": "6s", "soak": "5s"}
    web.place.policy["brownout"] = {"after": "1s", "for": "1s", "hours": ALWAYS}  # type: ignore[assignment]
    web.configure()
    web.place.rotate(NAME, now=True)
    web.supply()
    while [version["step"] for version in web.place.status(NAME)["previous"]] != ["delete"]:  # until its soak
        web.place.rotate(NAME, patience=0)
    with web.place.service() as service, service.running().hold(NAME) as work:
        reactivate(work)
    web.place.rotate(NAME)


def rehearsed(web: Installation) -> None:
    """Everything but the switch."""
    web.place.rotate(NAME)
    with web.place.service() as service, service.running().hold(NAME) as work:
        rehearsal.begin(work, "recorded")
    web.place.rotate(NAME, now=True, cause=Cause.REHEARSAL)
    web.place.rotate(NAME)


RUNS: dict[Callable[[Installation], None], str] = {
    rotated: "openai",
    given_up: "openai",
    rolled_back: "openai",
    rehearsed: "openai",
    handed_over: "anthropic",
    browned_out: "anthropic",
}

if __name__ == "__main__":
    situations: set[str] = set()
    for act, kind in RUNS.items():
        record(kind, act, situations)

"""What each brake stops: every cell of the table, for the schedule, for `--now`, for a leak, and for `revoke`.

Two rows of it are about waves and probes, which have their own tests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rotator.domain.errors import Unavailable
from rotator.domain.model import Cause
from rotator.domain.policy import NotDue
from rotator.engine import pausing, regress, revocation
from rotator.store.store import open_store
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.wiring import Seam
from tests.engine.place import Place
from tests.engine.test_going_back import unavailable
from tests.engine.test_guards import Patched

START = datetime.now(UTC).replace(hour=12, minute=30)
DUE = timedelta(days=31)


class Stage:
    """One credential in two env files, at a time that a test sets; its first key is there."""

    def __init__(self, place: Place, emulator: OpenAIEmulator | None = None) -> None:
        self.place = place
        self.emulator = emulator
        self.moment = START
        self.seam: Seam | None = None
        self.sinks: Mapping[str, Any] = {}
        self.places: Sequence[str] = ("app", "other")
        self.write()

    def __call__(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment

    def write(self, **policy: Any) -> None:
        options, provider = {}, {"type": "generated"}
        if self.emulator is not None:
            (self.place.folder / "admin").write_text(self.emulator.admin_key)
            options = {"project": self.emulator.project, "service_account": self.emulator.service_account}
            provider = {"type": "openai", "admin_key": "file:admin", "base_url": self.emulator.url}
        self.place.write(
            audit=self.sinks,
            providers={"keys": provider},
            destinations={to: {"type": "env-file", "path": f"{to}.env"} for to in self.places},
            credentials={
                "web": {
                    "provider": "keys",
                    "options": options,
                    "policy": {"grace": "1h", "soak": "1h", **policy},
                    "destinations": [{"to": to, "fields": {"WEB": "{secret}"}} for to in self.places],
                }
            },
        )

    def tried(self, **wish: Any) -> str:
        """`rotated`, or why not."""
        progress = self.place.rotate("web", patience=0, seam=self.seam, **wish)["web"]
        if progress.completed:
            return "rotated"
        if progress.trouble is not None:
            return progress.trouble.reason
        if progress.rotation is None and isinstance(progress.decision, NotDue):
            return progress.decision.reason
        status = self.place.status("web")
        waits = next((d["reason"] for d in (status["rotation"] or {}).get("deliveries", []) if d["reason"]), None)
        return str(status["reason"] or waits or status["status"])


# the brakes


def paused(stage: Stage) -> None:
    stage.moment += DUE
    with stage.place.service(unlock=False) as service:
        pausing.pause(service.store, service.store.credentials()[0], actor="ann", why="w", lasts=None)


def outside_its_window(stage: Stage) -> None:
    stage.moment += DUE
    stage.write(windows=["15:00-16:00"])


def in_a_blackout(stage: Stage) -> None:
    stage.moment += DUE
    stage.write(blackouts=["12:00-16:00"])


def too_soon(stage: Stage) -> None:
    stage.moment += timedelta(minutes=40)
    stage.write(cron="0 * * * *", min_interval="1h")


def too_many(stage: Stage) -> None:
    stage.moment += DUE
    stage.write(max_creates_per_day=1)
    assert stage.tried() == "rotated"
    stage.moment += timedelta(hours=2)
    stage.write(max_creates_per_day=1, cron="0 * * * *")


def braked(stage: Stage) -> None:
    stage.moment += DUE
    until = stage.moment + timedelta(minutes=10)
    with stage.place.service() as service:
        service.store.note_account(
            "keys", lambda row: replace(row, failures=99, failed_at=stage.moment, paused_until=until, message="m")
        )


def braked_and_failing(stage: Stage) -> None:
    braked(stage)
    stage.seam = Patched("provider", account=lambda _: unavailable)


def foreign(stage: Stage) -> None:
    stage.moment += DUE
    (stage.place.folder / "other.env").write_text("WEB=sk-somebody-else\n")


def unreachable(stage: Stage) -> None:
    stage.moment += DUE

    def make(read: Callable[[], Any]) -> Callable[[], Any]:
        def failing() -> Any:
            if "other" in read.__self__.address:  # type: ignore[attr-defined]
                message = "not now"
                raise Unavailable(message)
            return read()

        return failing

    stage.seam = Patched("destination", read=make)


def restored(stage: Stage) -> None:
    stage.moment += DUE
    with stage.place.service() as service:
        regress._find(service.store, service.engine.around, "database", "it was restored")


def behind(stage: Stage) -> None:
    """What must hear of everything first cannot be written."""
    stage.moment += DUE
    stage.sinks = {"sinks": {"siem": {"type": "file", "path": "gone/audit.jsonl"}}, "require_sink": ["siem"]}
    stage.write()


NOW: Mapping[str, Any] = {"now": True}
LEAK: Mapping[str, Any] = {"now": True, "cause": Cause.COMPROMISED}
WITHOUT: Mapping[str, Any] = {"without": ["other"], "because": "the host is gone"}

# brake → (what is tried, what comes of it), each on a stage of its own. `None` is a pass.
TABLE: Mapping[Callable[[Stage], None], Sequence[tuple[Mapping[str, Any], str]]] = {
    paused: [({}, "paused"), (NOW, "paused"), (LEAK, "rotated")],
    outside_its_window: [({}, "window"), (NOW, "rotated"), (LEAK, "rotated")],
    in_a_blackout: [({}, "blackout"), (NOW, "rotated"), (LEAK, "rotated")],
    too_soon: [({}, "min_interval"), (NOW, "rotated"), (LEAK, "rotated")],
    too_many: [({}, "max_creates"), (NOW, "max_creates"), (LEAK, "rotated")],
    braked: [({}, "account_braked"), (NOW, "rotated"), (LEAK, "rotated")],
    braked_and_failing: [({}, "account_braked"), (NOW, "unavailable"), (LEAK, "unavailable")],
    foreign: [({}, "foreign"), (NOW, "foreign"), (LEAK, "foreign"), ({**LEAK, "overwrite": True}, "rotated")],
    unreachable: [
        ({}, "unavailable"),
        (NOW, "unavailable"),
        ({**NOW, **WITHOUT}, "rotated"),
        (LEAK, "unavailable"),
        ({**LEAK, **WITHOUT}, "rotated"),
    ],
    behind: [({}, "sink_behind"), (NOW, "sink_behind"), (LEAK, "rotated")],
    restored: [({}, "reconcile"), (NOW, "reconcile"), (LEAK, "reconcile")],
}


@pytest.fixture
def stage(embedded: Place, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return with_a_key(Stage(embedded), monkeypatch)


def with_a_key(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr("rotator.wiring.open_store", functools.partial(open_store, clock=stage))
    assert stage.tried() == "rotated"
    return stage


@pytest.mark.parametrize("brake", TABLE, ids=lambda brake: brake.__name__)
def test_what_each_brake_stops(brake: Callable[[Stage], None], stage: Stage) -> None:
    brake(stage)
    folder, moment, found = stage.place.folder, stage.moment, []
    kept = {name: (folder / name).read_bytes() for name in ("rotator.db", "app.env", "other.env")}
    for wish, _ in TABLE[brake]:
        found.append(stage.tried(**wish))
        for name, content in kept.items():
            (folder / name).write_bytes(content)
        stage.moment = moment
    assert found == [outcome for _, outcome in TABLE[brake]]


def test_a_leak_has_a_cap_of_its_own_of_three_creates(stage: Stage) -> None:
    too_many(stage)
    assert [stage.tried(**LEAK) for _ in range(4)] == ["rotated", "rotated", "rotated", "max_creates"]


def test_one_try_is_one_step_that_fails_at_the_provider(stage: Stage) -> None:
    braked_and_failing(stage)
    for wish in (NOW, LEAK):
        stage.place.events.clear()
        stage.tried(**wish)
        assert stage.place.told("create.delayed", "create.blocked") == ["create.delayed"]
        stage.moment += timedelta(seconds=1)


def test_a_leak_that_passes_a_pause_is_in_the_trail(stage: Stage) -> None:
    paused(stage)
    stage.tried(**LEAK, because="seen in a paste")
    told = next(event for event in stage.place.events if event["event"] == "compromised.succeeded")
    assert told["detail"]["because"] == "seen in a paste"


@pytest.mark.parametrize("brake", [paused, braked, unreachable, behind, restored], ids=lambda brake: brake.__name__)
def test_no_brake_stops_a_revocation(
    brake: Callable[[Stage], None], embedded: Place, openai: OpenAIEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = with_a_key(Stage(embedded, openai), monkeypatch)
    brake(stage)
    with stage.place.service(stage.seam) as service, service.engine.hold("web") as work:
        assert work.situation.current is not None
        key = work.situation.current.key_id
        (said,) = revocation.revoke(work, key=key)
    assert said.endswith("works no more at keys")
    keys = openai.keys()
    assert next(k.state for k in keys if k.id == key) == "deleted"

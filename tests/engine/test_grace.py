"""How long an old key is kept for its readers: edits make a promised grace longer, never shorter; late writes count."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rotator.domain.model import Cause, RetirementState
from rotator.engine import drift
from rotator.engine.intake import take_in
from tests.engine.place import Place, dotenv_value
from tests.engine.test_going_back import held


class Session:
    """The credential `session`: a generated secret in an env file."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.env = place.folder / "app.env"

    def write(self, entry: dict[str, Any] | None = None, **policy: str) -> None:
        self.place.write(
            providers={"local": {"type": "generated"}},
            destinations={"env": {"type": "env-file", "path": str(self.env)}},
            credentials={
                "session": {"provider": "local", "policy": policy, "destinations": [{"to": "env", **(entry or {})}]}
            },
        )

    def rotated(self) -> None:
        """Twice, so that an old key is being taken away."""
        self.place.rotate()
        assert self.place.rotate("session", now=True, patience=6)["session"].completed

    def retirement(self) -> tuple[timedelta, timedelta]:
        """The grace that is pinned, and how long after its beginning it is looked at first."""
        with held(self.place, "session") as work:
            (row,) = work.situation.retirements
            assert row.state is RetirementState.PLANNED
            assert row.not_before is not None
            return row.grace, row.not_before - row.opened_at


HOUR = timedelta(hours=1)


def test_a_longer_grace_holds_for_what_is_being_taken_away_and_is_told_once(embedded: Place) -> None:
    session = Session(embedded)
    session.write(grace="1h")
    session.rotated()
    assert session.retirement() == (HOUR, HOUR)
    session.write(grace="5h")
    for _ in range(3):
        embedded.rotate(patience=6)
    assert session.retirement() == (5 * HOUR, 5 * HOUR)
    told = [e for e in embedded.events if e["event"] == "drain.delayed"]
    assert [e["reason"] for e in told] == ["grace"]
    (row,) = embedded.status("session")["previous"]
    assert (row["step"], row["reason"], row["not_before"]) == ("drain", "grace", told[0]["detail"]["until"])
    embedded.verified()


def test_a_shorter_grace_takes_nothing_back_that_was_promised(embedded: Place) -> None:
    session = Session(embedded)
    session.write(grace="5h")
    session.rotated()
    session.write(grace="1h")
    embedded.rotate(patience=6)
    assert session.retirement() == (5 * HOUR, 5 * HOUR)
    assert "drain.delayed" not in embedded.told()


def test_a_rotation_that_was_opened_under_a_short_grace_ends_with_the_long_one(embedded: Place) -> None:
    session = Session(embedded)
    session.write(grace="0s")
    embedded.rotate()
    with held(embedded, "session") as work:
        assert take_in(work, Cause.MANUAL).opened
    session.write(grace="5h")
    embedded.rotate(patience=6)
    assert session.retirement() == (5 * HOUR, 5 * HOUR)


def test_what_has_leaked_gets_no_longer_grace(embedded: Place) -> None:
    session = Session(embedded)
    session.write(grace="1h")
    session.rotated()
    session.write(grace="5h")
    embedded.rotate("session", now=True, cause=Cause.COMPROMISED, patience=5)
    assert embedded.status("session")["previous"] == []
    assert "drain.delayed" not in embedded.told()


def test_readers_that_need_longer_than_the_policy_gives_have_the_time(embedded: Place) -> None:
    session = Session(embedded)
    session.write({"readers": "poll 30m", "propagation": "1h"}, grace="1m")
    session.rotated()
    assert session.retirement() == (1.5 * HOUR, 1.5 * HOUR)


def test_an_old_key_waits_for_the_readers_of_a_place_that_was_written_after_cutover(embedded: Place) -> None:
    session = Session(embedded)
    session.write(grace="0s")
    embedded.rotate()
    old = dotenv_value(session.env, "SESSION")
    session.write({"readers": "poll 3s"}, grace="0s")
    embedded.rotate("session", now=True, patience=0.2)
    text = session.env.read_text()
    session.env.write_text(text.replace(dotenv_value(session.env, "SESSION") or "", old or ""))
    embedded.rotate(patience=4.5)
    assert embedded.status("session")["previous"][0]["reason"] == "destination_serves_it"
    with held(embedded, "session") as work:
        drift.overwrite(work, "env")
    embedded.events.clear()
    embedded.rotate(patience=10)
    assert embedded.status("session")["previous"] == []
    at = {e["event"]: datetime.fromisoformat(e["at"]) for e in embedded.events}
    # It counts from when the place was written, which the event tells some milliseconds later.
    assert at["drain.succeeded"] - at["push.succeeded"] >= timedelta(seconds=2.9)
    assert [e["reason"] for e in embedded.events if e["event"] == "drain.delayed"][-1] == "readers_lag"

"""What follows the trail gets every event, in order, and holds up nobody."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from rotator.domain.errors import LostAnswer, StoreUnavailable, Unavailable
from rotator.domain.model import Follower
from rotator.engine import followers
from rotator.engine.followers import Followers, Following
from rotator.engine.work import Limits, Surroundings
from rotator.ports.store import NewEvent, StoredEvent
from tests.simulation.memory import MemoryStore

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
LIMITS = Limits(lease=timedelta(seconds=60), call_budget=timedelta(seconds=20))


class Siem:
    """A receiver that keeps what it took; `fails` is raised instead, before or after it has kept it."""

    def __init__(self, most: int = 3) -> None:
        self.most = most
        self.seqs: list[int] = []
        self.fails: Exception | None = None
        self.keeps_first = False
        self.calls = 0

    def take(self, events: Sequence[StoredEvent]) -> None:
        self.calls += 1
        assert 0 < len(events) <= self.most
        assert [json.loads(event.body)["seq"] for event in events] == [event.seq for event in events]
        if self.fails is None or self.keeps_first:
            self.seqs += [event.seq for event in events]
        if self.fails is not None:
            raise self.fails

    def close(self) -> None:
        pass


class Dead(Siem):
    """It never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def take(self, events: Sequence[StoredEvent]) -> None:
        self.asked.set()
        self.let_go.wait(30)


class Stage:
    """A trail in memory, at a time that a test sets."""

    def __init__(self) -> None:
        self.moment = START
        self.monotonic = 0.0
        ids = count(1)
        self.bugs: list[tuple[str, Exception]] = []
        self.store = MemoryStore(clock=lambda: self.moment, new_id=lambda: str(next(ids)))
        self.around = Surroundings(
            new_id=lambda: str(next(ids)),
            chance=lambda: 0.5,
            monotonic=lambda: self.monotonic,
            host_time=lambda: self.moment,
            pause=lambda _: None,
            stopping=lambda: False,
            actor="test",
            holder="{}",
            bug=lambda name, problem: self.bugs.append((name, problem)),
        )
        self.siem = Siem()

    def happen(self, times: int = 1) -> None:
        self.store.note([NewEvent(event="push.succeeded", actor="test") for _ in range(times)])

    def followers(self, *following: Following, limits: Limits = LIMITS) -> Followers:
        return Followers(self.store, following or [self.following()], limits, self.around)

    def following(self, name: str = "sink:siem", *, from_now: bool = False) -> Following:
        return Following(name=name, receiver=self.siem, from_now=from_now)

    def turn(self) -> Follower:
        """One turn of the one follower; gives its row."""
        self.followers().turn(self.following())
        return self.row

    @property
    def row(self) -> Follower:
        return self.store.followers()["sink:siem"]

    def pass_by(self, **span: float) -> None:
        self.moment += timedelta(**span)
        self.monotonic += timedelta(**span).total_seconds()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_new_follower_gets_the_whole_trail_in_order(stage: Stage) -> None:
    stage.happen(9)
    assert stage.turn() == Follower(name="sink:siem", seq=10)
    assert stage.siem.seqs == list(range(1, 11))
    assert stage.siem.calls == 4
    stage.happen()
    stage.turn()
    assert stage.siem.seqs[-1] == 11


def test_one_that_follows_from_now_on_is_told_nothing_of_before(stage: Stage) -> None:
    stage.happen(5)
    one = stage.following(from_now=True)
    stage.followers(one).turn(one)
    assert (stage.siem.seqs, stage.row.seq) == ([], 6)
    stage.happen(2)
    stage.followers(one).turn(one)
    assert stage.siem.seqs == [7, 8]


def test_what_is_not_accepted_comes_again_after_a_pause_and_the_row_says_why(stage: Stage) -> None:
    stage.happen(2)
    stage.siem.fails = Unavailable("the SIEM does not answer")
    row = stage.turn()
    assert (row.seq, row.attempt, row.reason, row.message) == (0, 1, "unavailable", "the SIEM does not answer")
    assert (row.since, row.taken_by) == (START, None)
    assert row.not_before is not None
    stage.turn()
    assert stage.siem.calls == 1
    stage.pass_by(seconds=10)
    assert stage.turn().attempt == 2
    assert stage.row.since == START
    stage.siem.fails = None
    stage.pass_by(minutes=1)
    assert stage.turn() == Follower(name="sink:siem", seq=3)
    assert stage.siem.seqs == [1, 2, 3]


def test_what_was_accepted_and_not_noted_comes_again(stage: Stage) -> None:
    """As after a crash between the receiver's yes and our record of it."""
    stage.happen(2)
    stage.siem.fails, stage.siem.keeps_first = LostAnswer("no whole answer"), True
    stage.turn()
    stage.siem.fails = None
    stage.pass_by(minutes=1)
    stage.turn()
    assert stage.siem.seqs == [1, 2, 3, 1, 2, 3]


def test_a_database_that_goes_away_is_no_failure_of_the_receiver(stage: Stage) -> None:
    stage.happen(2)

    def down(name: str, change: Callable[[Follower], Follower]) -> Follower:
        message = "gone"
        raise StoreUnavailable(message)

    working = stage.store.note_follower

    def once_then_down(name: str, change: Callable[[Follower], Follower]) -> Follower:
        found = working(name, change)
        stage.store.note_follower = down  # type: ignore[method-assign]
        return found

    stage.store.note_follower = once_then_down  # type: ignore[method-assign]
    stage.turn()
    stage.store.note_follower = working  # type: ignore[method-assign]
    assert (stage.siem.seqs, stage.bugs) == ([1, 2, 3], [])
    stage.turn()
    assert stage.siem.seqs == [1, 2, 3]  # its turn is not over
    stage.pass_by(seconds=61)
    assert stage.turn().seq == 3
    assert stage.siem.seqs == [1, 2, 3, 1, 2, 3]


def test_a_bug_in_a_receiver_is_told_and_waits(stage: Stage) -> None:
    stage.siem.fails = ZeroDivisionError()
    assert stage.turn().reason == "bug"
    assert [name for name, _ in stage.bugs] == ["sink:siem"]


def test_while_one_worker_sends_no_other_does(stage: Stage) -> None:
    stage.happen(2)
    stage.store.note_follower(
        "sink:siem", lambda row: replace(row, taken_by="other", taken_until=START + timedelta(seconds=60))
    )
    stage.turn()
    assert stage.siem.seqs == []
    stage.pass_by(seconds=60)
    stage.turn()
    assert stage.siem.seqs == [1, 2, 3]


def test_a_turn_of_a_clock_that_was_set_back_does_not_last(stage: Stage) -> None:
    ahead = START + timedelta(days=9)
    stage.store.note_follower("sink:siem", lambda row: replace(row, taken_until=ahead, not_before=ahead))
    assert stage.turn().seq == 1


def test_a_worker_that_was_overtaken_moves_nothing(stage: Stage) -> None:
    stage.happen(8)
    real = stage.siem.take

    def overtaken(events: Sequence[StoredEvent]) -> None:
        real(events)
        stage.store.note_follower("sink:siem", lambda row: replace(row, taken_by="other", seq=7))

    stage.siem.take = overtaken  # type: ignore[method-assign]
    row = stage.turn()
    assert (row.taken_by, row.seq) == ("other", 7)
    assert stage.siem.seqs == [1, 2, 3]


def test_no_call_begins_that_could_outlast_the_turn(stage: Stage) -> None:
    stage.happen(8)
    real = stage.store.events

    def slow(*args: int, **given: int) -> object:
        stage.pass_by(seconds=41)
        return real(*args, **given)  # type: ignore[arg-type]

    stage.store.events = slow  # type: ignore[method-assign, assignment]
    assert stage.turn().taken_by is None
    assert stage.siem.calls == 0


def test_a_call_that_does_not_come_back_keeps_its_turn_until_it_must_have_ended(stage: Stage) -> None:
    stage.happen()
    stage.siem = dead = Dead()
    stage.followers(limits=replace(LIMITS, call_budget=timedelta(seconds=0.05))).turn(stage.following())
    assert dead.asked.is_set()
    row = stage.row
    assert (row.seq, row.reason, row.taken_until) == (0, "lost_answer", START + LIMITS.lease)
    dead.let_go.set()


def test_a_receiver_that_hangs_holds_up_neither_the_others_nor_the_work(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "LAST_WORD", 0.2)
    stage.around = replace(stage.around, monotonic=time.monotonic)
    stage.happen(5)
    dead = Dead()
    both = stage.followers(Following(name="sink:dead", receiver=dead), stage.following())
    with followers.alongside(both.turns, stage.around):
        stage.happen()
    assert stage.siem.seqs == list(range(1, 8))
    assert stage.store.followers()["sink:dead"].seq == 0
    dead.let_go.set()


def test_what_happens_during_work_is_sent_when_it_ends(stage: Stage) -> None:
    stage.around = replace(stage.around, monotonic=time.monotonic)
    with followers.alongside(stage.followers().turns, stage.around):
        stage.happen(4)
    assert stage.siem.seqs == [1, 2, 3, 4, 5]


def test_of_many_workers_each_event_comes_once_and_in_order(stage: Stage) -> None:
    stage.around = replace(stage.around, monotonic=time.monotonic)
    stage.happen(200)
    workers = [stage.followers() for _ in range(4)]
    threads = [threading.Thread(target=one.turn, args=(stage.following(),)) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stage.siem.seqs == list(range(1, 202))

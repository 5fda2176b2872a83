"""What every store must do, as tests that a store's own test class inherits.

A subclass of `StoreContract` gives one fixture:

    fresh_store   a factory: each call is a new empty store that takes its time from `clock` and can seal
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import count, pairwise
from typing import Any
from uuid import uuid4

import pytest

from rotator.domain.errors import StaleLease
from rotator.domain.model import (
    Cause,
    CredentialId,
    Delivery,
    DeliveryId,
    DeliveryState,
    Finding,
    Follower,
    Lease,
    Observed,
    Placement,
    Request,
    RequestId,
    RequestState,
    Retirement,
    RetirementId,
    RetirementReason,
    RetirementState,
    Rotation,
    RotationId,
    RotationState,
    Sighting,
    Situation,
    Version,
    VersionId,
    VersionState,
)
from rotator.domain.notices import Notice, Outgoing, Severity
from rotator.domain.notices import State as NoticeState
from rotator.domain.reactions import Caps
from rotator.domain.secret import Material
from rotator.domain.usage import DAYS_KEPT, HOURS_KEPT, Sample, Sampling, begin
from rotator.ports.store import (
    Checkpoint,
    Count,
    DropSealed,
    Held,
    Idle,
    Insert,
    NewEvent,
    Pause,
    Place,
    Seal,
    Store,
    StoredEvent,
    Unplace,
    Update,
    Write,
)
from rotator.store.audit import exported
from rotator.store.holder import this_process
from rotator.verifier.trail import verify_lines

START = datetime(2026, 11, 23, 9, 0, 0, 123456, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
ACCOUNT = "openai:proj_abc"
PLACE = "vault:http://127.0.0.1:8200/secret/web"


class VirtualClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, span: timedelta) -> datetime:
        self.moment += span
        return self.moment


def holder_elsewhere(worker: str = "w") -> str:
    return json.dumps({"host": "elsewhere", "boot": "b", "pids": "p", "pid": 1, "started": "1", "worker": worker})


def happened(event: str = "push.succeeded", **given: Any) -> NewEvent:
    return NewEvent(event=event, actor="test", **given)


def whole_trail(store: Store) -> list[StoredEvent]:
    return list(store.events())


def bodies(events: Sequence[StoredEvent]) -> list[dict[str, Any]]:
    return [json.loads(event.body) for event in events]


class Work:
    """A credential in a store with a lease on it, and rows for it."""

    def __init__(self, store: Store, name: str = "web") -> None:
        self.store = store
        known = {credential.name: credential.provider for credential in store.credentials()}
        enrolled = store.enroll({**known, name: "openai"}, "test")
        self.credential = next(credential for credential in enrolled if credential.name == name)
        self.id = self.credential.id
        claimed = store.claim(self.id, this_process(name), MINUTE)
        assert isinstance(claimed, Lease)
        self.lease = claimed
        self._numbers = count(1)

    def record(self, *writes: Write, events: Sequence[NewEvent] = ()) -> Sequence[StoredEvent]:
        """Every record of the contract also shows that what is read again is all that has changed."""
        before = self.load()
        told = self.store.record(self.lease, writes, events)
        assert self.store.reload(self.lease, before, writes) == self.load()
        return told

    def insert(self, *rows: Version | Rotation | Retirement | Delivery) -> None:
        self.record(*(Insert(row) for row in rows))

    def load(self) -> Situation:
        return self.store.load(self.id)

    def version(self, state: VersionState = VersionState.PENDING, **given: Any) -> Version:
        number = next(self._numbers)
        usual: dict[str, Any] = {
            "id": VersionId(str(uuid4())),
            "credential_id": self.id,
            "number": number,
            "state": state,
            "account": ACCOUNT,
            "label": f"web {number}",
            "created_at": START,
        }
        return Version(**usual | given)

    def rotation(self, state: RotationState = RotationState.PLANNED, **given: Any) -> Rotation:
        usual: dict[str, Any] = {
            "id": RotationId(str(uuid4())),
            "credential_id": self.id,
            "state": state,
            "cause": Cause.SCHEDULE,
            "account": ACCOUNT,
            "opened_at": START,
            "grace": DAY,
            "soak": DAY,
        }
        return Rotation(**usual | given)

    def retirement(self, version: Version, **given: Any) -> Retirement:
        usual: dict[str, Any] = {
            "id": RetirementId(str(uuid4())),
            "credential_id": self.id,
            "version_id": version.id,
            "state": RetirementState.PLANNED,
            "why": RetirementReason.SUPERSEDED,
            "opened_at": START,
            "grace": DAY,
            "soak": DAY,
        }
        return Retirement(**usual | given)

    def delivery(self, rotation: Rotation, position: int = 0, **given: Any) -> Delivery:
        usual: dict[str, Any] = {
            "id": DeliveryId(str(uuid4())),
            "rotation_id": rotation.id,
            "credential_id": self.id,
            "position": position,
            "to": "vault",
            "address": f"vault:secret/web{position}",
            "identity": PLACE,
            "templates": {"Z_LAST": "{secret}", "A_FIRST": "{key_id}"},
            "state": DeliveryState.PLANNED,
        }
        return Delivery(**usual | given)

    def placement(self, field: str = "OPENAI_API_KEY", **given: Any) -> Placement:
        usual: dict[str, Any] = {
            "identity": PLACE,
            "to": "vault",
            "address": "vault:secret/web",
            "field": field,
            "credential_id": self.id,
            "version_id": None,
            "fingerprint": "f1",
            "revision": "1",
            "placed_at": START,
        }
        return Placement(**usual | given)


def request_to(credential_id: CredentialId, asked_at: datetime) -> Request:
    """A person wants it to go on."""
    return Request(
        id=RequestId(str(uuid4())),
        credential_id=credential_id,
        state=RequestState.STANDING,
        verb="resume",
        arguments={"keep": ["key_1"], "delete": None},
        actor="ann",
        asked_at=asked_at,
        because="it is mended",
    )


def finding(subject: str = "web", **given: Any) -> Finding:
    usual: dict[str, Any] = {
        "id": str(uuid4()),
        "kind": "stranger",
        "subject": subject,
        "credential_id": None,
        "account": ACCOUNT,
        "message": "there is a key that nobody here made",
        "remedy": "delete it",
        "found_at": START,
    }
    return Finding(**usual | given)


def at_once(number: int, act: Callable[..., Any], *given: Any) -> list[Any]:
    """The outcomes of so many threads that start together, each with its index; an exception is an outcome too."""
    barrier = threading.Barrier(number)

    def one(index: int) -> Any:
        barrier.wait(10)
        try:
            return act(index, *given)
        except Exception as problem:  # noqa: BLE001 - looked at by the test
            return problem

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


class StoreContract:
    """Each test is a promise of `ports.store.Store`."""

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def store(self, fresh_store: Callable[[], Store]) -> Store:
        return fresh_store()

    @pytest.fixture
    def work(self, store: Store) -> Work:
        return Work(store)

    # Time and identity

    def test_the_given_clock_is_the_time(self, store: Store, clock: VirtualClock) -> None:
        assert store.now() == START
        clock.advance(HOUR)
        assert store.now() == START + HOUR

    def test_the_end_of_a_pass_is_noted(self, store: Store, clock: VirtualClock) -> None:
        before = store.installation()
        clock.advance(HOUR)
        store.pass_ended()
        assert before.last_pass_at is None
        assert store.installation() == replace(before, last_pass_at=START + HOUR)

    # What metrics tell

    def test_what_is_counted_adds_up_in_the_transaction_of_the_record(self, work: Work) -> None:
        before = work.store.counts()
        called = Count("calls", ("openai", "create"))
        work.record(called, called, Count("seconds", (), 0.5), events=[happened(), happened()])
        work.store.count([called, Count("seconds", (), 0.25)])
        found = work.store.counts()
        assert found["calls", ("openai", "create")] == 3
        assert found["seconds", ()] == 0.75
        pushed = ("events", ("push.succeeded",))
        assert found[pushed] - before.get(pushed, 0) == 2

    def test_what_a_refused_record_counts_is_not_counted(self, work: Work) -> None:
        gone = work.version()
        with pytest.raises(StaleLease):
            work.record(Count("calls"), Update(gone, {"key_id": "k"}), events=[happened()])
        assert ("calls", ()) not in work.store.counts()
        assert ("events", ("push.succeeded",)) not in work.store.counts()

    def test_many_workers_count_the_same_at_once(self, store: Store) -> None:
        works = [Work(store, f"c{number}") for number in range(4)]
        labels = ("a", "b")

        def one(index: int) -> None:
            for turn in range(5):
                ordered = labels if (index + turn) % 2 else labels[::-1]
                works[index].record(*(Count("calls", (label,)) for label in ordered), events=[happened()])
                store.count([Count("calls", (label,)) for label in ordered])

        assert at_once(4, one) == [None] * 4
        assert [store.counts()["calls", (label,)] for label in labels] == [40, 40]

    def test_only_a_lease_that_nobody_released_is_taken_over(self, work: Work, clock: VirtualClock) -> None:
        work.store.release(work.lease)
        assert isinstance(work.store.claim(work.id, holder_elsewhere(), MINUTE), Lease)
        assert ("lease_takeovers", ()) not in work.store.counts()
        clock.advance(MINUTE)
        work.store.claim(work.id, holder_elsewhere("other"), MINUTE)
        assert work.store.counts()["lease_takeovers", ()] == 1

    def test_the_fleet_is_every_credential_as_it_is_loaded(self, work: Work, clock: VirtualClock) -> None:
        idle = Work(work.store, "idle")
        retired = work.version(VersionState.RETIRED, sent_at=START)
        old = work.version(VersionState.PREVIOUS, sent_at=START)
        current = work.version(VersionState.CURRENT, current_at=START)
        done = work.rotation(RotationState.COMPLETED, closed_at=clock.advance(SECOND))
        target = work.version(sent_at=clock.advance(SECOND))
        opened = work.rotation(target_id=target.id)
        work.insert(retired, old, current, target, done, opened, work.delivery(opened), work.retirement(old))
        work.record(Place(work.placement(version_id=current.id)), Insert(work.retirement(retired)))
        other = Work(work.store, "other")
        other.insert(other.version(VersionState.CURRENT, account="other", current_at=START))
        loaded = [work.store.load(credential.id) for credential in work.store.credentials()]
        assert [situation.credential.id for situation in loaded] == [idle.id, other.id, work.id]
        assert list(work.store.fleet()) == [replace(s, unacknowledged={}, shadows={}) for s in loaded]

    def test_a_credential_is_drilled_when_the_key_of_a_rehearsal_is_gone(self, work: Work, clock: VirtualClock) -> None:
        other = Work(work.store, "other")
        retired = [work.version(VersionState.RETIRED, sent_at=START) for _ in range(4)]
        times = [clock.advance(SECOND) for _ in range(4)]
        rehearsed, superseded = RetirementReason.REHEARSED, RetirementReason.SUPERSEDED
        whys = (rehearsed, rehearsed, superseded, rehearsed)
        rows = [
            work.retirement(version, why=why, state=RetirementState.DELETED, closed_at=at)
            for version, why, at in zip(retired, whys, times, strict=True)
        ]
        rows[3] = replace(rows[3], state=RetirementState.PLANNED, closed_at=None)
        work.insert(*retired, *rows)
        assert work.store.drilled([work.id, other.id]) == {work.id: times[1]}
        assert work.store.drilled([other.id]) == work.store.drilled([]) == {}

    def test_two_databases_are_two_installations(self, fresh_store: Callable[[], Store]) -> None:
        assert fresh_store().installation().id != fresh_store().installation().id

    # Enrolment

    def test_credentials_are_enrolled_by_name(self, store: Store) -> None:
        enrolled = store.enroll({"web": "openai", "deployer": "aws"}, "cli:me")
        assert [(row.name, row.provider, row.managed) for row in enrolled] == [
            ("deployer", "aws", True),
            ("web", "openai", True),
        ]
        assert store.credentials() == enrolled

    def test_enrolling_again_changes_and_tells_nothing(self, store: Store) -> None:
        first = store.enroll({"web": "openai"}, "me")
        told = whole_trail(store)
        assert store.enroll({"web": "openai"}, "me") == first
        assert whole_trail(store) == told

    def test_a_credential_without_a_name_is_unmanaged_and_comes_back(self, store: Store) -> None:
        (web,) = store.enroll({"web": "openai"}, "me")
        assert store.enroll({}, "me") == [replace(web, managed=False)]
        assert store.enroll({}, "me") == [replace(web, managed=False)]
        assert store.enroll({"web": "openai"}, "me") == [web]
        told = [(body["event"], body["credential"]) for body in bodies(whole_trail(store)) if body["credential"]]
        assert told == [("enroll.succeeded", "web"), ("unmanage.succeeded", "web"), ("enroll.succeeded", "web")]

    def test_another_provider_is_taken_over_and_told(self, store: Store) -> None:
        store.enroll({"web": "openai"}, "me")
        (web,) = store.enroll({"web": "openai-eu"}, "me")
        assert web.provider == "openai-eu"
        assert bodies(whole_trail(store))[-1]["detail"] == {"provider": "openai-eu", "provider_before": "openai"}

    def test_entries_are_kept_as_they_were_last_given(self, work: Work) -> None:
        work.insert(work.rotation())
        assert work.store.unfinished() == {"web": None}
        for entries, kept in (({"web": "1"}, "1"), ({"web": "2"}, "2"), ({"mail": "3"}, "2"), (None, "2")):
            names = {"web": "openai", "mail": "openai"}
            assert [c.name for c in work.store.enroll(names, "me", entries)] == ["mail", "web"]
            assert work.store.unfinished() == {"web": kept}

    def test_the_entry_of_what_is_named_no_more_stays(self, work: Work) -> None:
        work.insert(work.rotation())
        work.store.enroll({"web": "openai"}, "me", {"web": "1"})
        work.store.enroll({}, "me", {})
        assert work.store.unfinished() == {"web": "1"}

    def test_unfinished_is_what_has_a_rotation_or_a_retirement_open(self, work: Work) -> None:
        store = work.store
        Work(store, "idle")
        assert store.unfinished() == {}
        version, rotation = work.version(VersionState.PREVIOUS), work.rotation()
        retirement = work.retirement(version)
        work.insert(version, rotation, retirement)
        assert store.unfinished() == {"web": None}
        work.record(Update(rotation, {"state": RotationState.COMPLETED}))
        assert store.unfinished() == {"web": None}
        work.record(Update(retirement, {"state": RetirementState.CANCELLED}))
        assert store.unfinished() == {}

    def test_another_name_keeps_the_row_and_clears_its_findings(self, work: Work) -> None:
        work.insert(work.version(VersionState.CURRENT))
        work.store.find(finding("web", credential_id=work.id), happened("stranger.found"))
        work.store.find(finding("other"), happened("stranger.found"))
        before = work.load()
        told = NewEvent(event="move.succeeded", actor="me", credential="site", detail={"from": "web"})
        assert work.store.move(work.id, "site", told)
        assert not work.store.move(work.id, "site", told)
        assert work.load() == replace(before, credential=replace(work.credential, name="site"))
        assert [f.subject for f in work.store.findings()] == ["other"]
        lines = bodies(whole_trail(work.store))[-2:]
        assert [(line["event"], line["credential"], line["reason"]) for line in lines] == [
            ("move.succeeded", "site", None),
            ("stranger.cleared", "site", "moved"),
        ]

    def test_a_name_is_taken_over_from_a_row_without_keys_and_from_no_other(self, work: Work) -> None:
        store = work.store
        told = NewEvent(event="move.succeeded", actor="me")
        empty, used = Work(store, "empty"), Work(store, "used")
        used.insert(used.version(VersionState.RETIRED))
        store.enroll({"web": "openai", "empty": "openai", "used": "openai"}, "me", {"empty": "1"})
        store.find(finding("empty", credential_id=empty.id), happened("stranger.found"))
        assert not store.move(work.id, "used", told)
        assert store.move(work.id, "empty", told)
        assert [(c.name, c.id) for c in store.credentials()] == [("empty", work.id), ("used", used.id)]
        assert store.findings() == []
        with pytest.raises(StaleLease):
            store.record(empty.lease, [Insert(empty.version())], ())

    def test_keeping_an_entry_that_is_kept_writes_and_tells_nothing(self, store: Store) -> None:
        first = store.enroll({"web": "openai"}, "me", {"web": "1"})
        told = whole_trail(store)
        assert store.enroll({"web": "openai"}, "me", {"web": "1"}) == first
        assert store.enroll({"web": "openai"}, "me", {"web": "2"}) == first
        assert whole_trail(store) == told

    def test_the_last_word_of_each_consumer_is_kept_and_a_change_of_it_is_told_once(self, work: Work) -> None:
        def says(consumer: str, fingerprint: str, at: datetime) -> bool:
            word = Sighting(credential_id=work.id, consumer=consumer, fingerprint=fingerprint, seen_at=at)
            return work.store.sight(word, happened("seen.succeeded", credential="web", detail={"by": consumer}))

        before = len(whole_trail(work.store))
        assert says("web-2", "new", START + MINUTE)
        assert says("web-1", "old", START)
        assert not says("web-1", "old", START + SECOND), "the same again is no news"
        assert not says("web-1", "new", START), "older than what is on record"
        assert not says("web-1", "old", START), "the same, and older"
        words = [(s.consumer, s.fingerprint, s.seen_at) for s in work.store.sightings(work.id)]
        assert words == [("web-1", "old", START + SECOND), ("web-2", "new", START + MINUTE)]
        assert says("web-1", "new", START + HOUR)
        assert [e["detail"]["by"] for e in bodies(whole_trail(work.store)[before:])] == ["web-2", "web-1", "web-1"]
        other = Work(work.store, "mail")
        assert list(work.store.sightings(other.id)) == []

    def test_use_is_kept_by_bucket_and_a_later_look_at_the_same_bucket_takes_its_place(
        self, work: Work, clock: VirtualClock
    ) -> None:
        def sample(hour: int, requests: int, service: str = "completions", key: str = "key_a") -> Sample:
            return Sample(key_id=key, at=START + HOUR * hour, width=HOUR, service=service, requests=requests)

        assert work.store.sampling(work.id) is None
        assert list(work.store.samples(work.id)) == []
        first = clock.advance(SECOND)
        work.store.keep_samples(work.id, [sample(2, 5), sample(1, 3, key="key_b"), sample(1, 3)], START)
        assert work.store.sampling(work.id) == Sampling(since=START, at=first)
        second = clock.advance(SECOND)
        seen = replace(sample(3, 0), last_at=START + HOUR * 3 + MINUTE, region="us-east-1", ours=True)
        work.store.keep_samples(work.id, [sample(2, 9), sample(2, 1, "images"), seen], START + HOUR)
        assert work.store.sampling(work.id) == Sampling(since=START, at=second)
        found = list(work.store.samples(work.id))
        assert [(s.key_id, s.at, s.service, s.requests) for s in found if s.at != seen.at] == [
            ("key_a", START + HOUR, "completions", 3),
            *sorted([("key_a", START + HOUR * 2, "completions", 9), ("key_a", START + HOUR * 2, "images", 1)]),
            ("key_b", START + HOUR, "completions", 3),
        ]
        assert seen in found
        work.store.keep_samples(work.id, [], START)
        assert list(work.store.samples(work.id)) == found
        assert work.store.sampling(Work(work.store, "mail").id) is None

    def test_use_of_long_ago_is_rolled_up_into_days_and_goes(self, work: Work, clock: VirtualClock) -> None:
        day = begin(START, DAY)
        hours = [Sample(key_id="key_a", at=day + HOUR * n, width=HOUR, requests=n, cost=n) for n in range(3)]
        work.store.keep_samples(work.id, hours, day)
        clock.advance(HOURS_KEPT + DAY * 2)
        work.store.keep_samples(work.id, [], day)
        assert list(work.store.samples(work.id)) == [
            Sample(key_id="key_a", at=day, width=DAY, requests=3, cost=3),
        ]
        clock.advance(DAYS_KEPT)
        work.store.keep_samples(work.id, [], day)
        assert list(work.store.samples(work.id)) == []

    def test_of_many_who_speak_for_one_consumer_at_once_the_newest_is_kept(self, work: Work) -> None:
        def say(number: int) -> None:
            at = START + number * SECOND
            word = Sighting(credential_id=work.id, consumer="web", fingerprint=f"f{number % 2}", seen_at=at)
            work.store.sight(word, happened("seen.succeeded"))

        assert at_once(8, say) == [None] * 8
        assert [(s.fingerprint, s.seen_at) for s in work.store.sightings(work.id)] == [("f1", START + 7 * SECOND)]

    def test_a_request_is_asked_without_a_lease_and_closed_once_under_one(
        self, work: Work, clock: VirtualClock
    ) -> None:
        asked = [request_to(work.id, clock.advance(SECOND)) for _ in range(2)]
        for request in reversed(asked):
            work.store.ask(request, happened("request.started", credential="web"))
        assert work.store.requests(work.id) == asked
        done = Update(asked[0], {"state": RequestState.DONE, "done_at": clock(), "message": "cleared"})
        work.record(done, events=[happened("request.succeeded")])
        assert work.store.requests(work.id) == asked[1:]
        found = work.store.request(asked[0].id)
        assert found is not None
        assert (found.state, found.message, found.arguments) == (RequestState.DONE, "cleared", asked[0].arguments)
        with pytest.raises(StaleLease):
            work.record(done)
        assert work.store.request(RequestId("nobody's")) is None
        told = [body["event"] for body in bodies(whole_trail(work.store))]
        assert told[-3:] == ["request.started", "request.started", "request.succeeded"]

    def test_reactions_are_capped_whoever_reacts(self, work: Work, clock: VirtualClock) -> None:
        def leak(check: str = "leak") -> Request:
            return replace(request_to(work.id, clock.advance(SECOND)), actor=f"reaction:{check}")

        caps, told = Caps(per_hour=2, cool_down=timedelta(minutes=10)), happened("request.started", credential="web")
        work.store.ask(request_to(work.id, clock()), told)  # a person's, which counts for nothing
        taken = leak()
        assert work.store.react(taken, told, caps) is None
        assert "cool_down" in str(work.store.react(leak(), told, caps))
        assert work.store.react(leak("other"), told, caps) is None
        assert "per_hour" in str(work.store.react(leak("third"), told, caps))
        assert [r.actor for r in work.store.requests(work.id)] == ["ann", "reaction:leak", "reaction:other"]
        assert [b["event"] for b in bodies(whole_trail(work.store))].count("request.started") == 3
        clock.advance(timedelta(hours=1))
        assert work.store.react(leak(), told, caps) is None

    def test_a_pause_is_written_told_and_ended_without_a_lease(self, work: Work, clock: VirtualClock) -> None:
        told = NewEvent(event="pause.succeeded", actor="ann", credential="web")
        wanted = Pause(by="ann", lasts=HOUR, why="launch week")
        assert work.store.pause(work.id, wanted, told)
        paused = work.store.load(work.id).credential
        assert (paused.paused_at, paused.paused_by, paused.pause_reason) == (START, "ann", "launch week")
        assert paused.paused(clock.advance(HOUR - SECOND))
        assert not paused.paused(clock.advance(SECOND))
        assert work.store.pause(work.id, None, told)
        assert not work.store.pause(work.id, None, told)
        assert work.store.load(work.id).credential.paused_at is None

    def test_the_same_pause_twice_changes_and_tells_nothing(self, work: Work) -> None:
        told = NewEvent(event="pause.succeeded", actor="ann", credential="web")
        for wanted in (Pause(by="ann", lasts=None, why="a"), Pause(by="ben", lasts=None, why="a")):
            before = len(list(work.store.events()))
            assert work.store.pause(work.id, wanted, told)
            assert not work.store.pause(work.id, wanted, told)
            assert len(list(work.store.events())) == before + 1

    def test_workers_that_start_at_once_enroll_each_credential_once(self, store: Store) -> None:
        names = {f"web-{number}": "openai" for number in range(5)}
        outcomes = at_once(6, lambda _: store.enroll(names, "me"))
        assert all(outcome == outcomes[0] for outcome in outcomes)
        told = [body["credential"] for body in bodies(whole_trail(store)) if body["event"] == "enroll.succeeded"]
        assert told == sorted(names)

    # Leases

    def test_a_credential_that_was_never_claimed_has_no_lease(self, store: Store) -> None:
        (web,) = store.enroll({"web": "openai"}, "me")
        assert store.lease(web.id) is None

    def test_a_first_claim_gives_the_first_epoch(self, store: Store) -> None:
        (web,) = store.enroll({"web": "openai"}, "me")
        lease = store.claim(web.id, holder_elsewhere(), MINUTE)
        assert lease == Lease(
            credential_id=web.id,
            holder=holder_elsewhere(),
            epoch=1,
            until=START + MINUTE,
            released=False,
            fenced_at=None,
        )
        assert store.lease(web.id) == lease

    def test_a_living_lease_is_given_to_nobody_else(self, work: Work, clock: VirtualClock) -> None:
        clock.advance(MINUTE - timedelta(microseconds=1))
        assert work.store.claim(work.id, holder_elsewhere(), MINUTE) == Held(work.lease)
        assert work.store.lease(work.id) == work.lease

    def test_the_same_holder_does_not_get_its_lease_twice(self, work: Work) -> None:
        assert work.store.claim(work.id, work.lease.holder, MINUTE) == Held(work.lease)

    def test_an_expired_lease_is_taken_over_and_fenced(self, work: Work, clock: VirtualClock) -> None:
        now = clock.advance(MINUTE)
        lease = work.store.claim(work.id, holder_elsewhere(), MINUTE)
        assert isinstance(lease, Lease)
        assert (lease.epoch, lease.until, lease.fenced_at) == (2, now + MINUTE, now)

    def test_a_released_lease_is_free_and_not_fenced(self, work: Work) -> None:
        work.store.release(work.lease)
        lease = work.store.claim(work.id, holder_elsewhere(), MINUTE)
        assert isinstance(lease, Lease)
        assert (lease.epoch, lease.fenced_at, lease.released) == (2, None, False)

    # What is due

    def test_who_was_never_looked_at_is_due(self, store: Store) -> None:
        store.enroll({"web": "openai", "api": "openai"}, "me")
        assert sorted(store.due(HOUR)) == ["api", "web"]

    def test_who_is_released_idle_is_due_again_when_its_time_has_come(self, work: Work, clock: VirtualClock) -> None:
        work.store.release(work.lease, Idle(until=START + MINUTE, edition="1"))
        assert work.store.due(HOUR) == []
        clock.advance(MINUTE)
        assert work.store.due(HOUR) == ["web"]

    def test_who_is_released_without_a_word_is_due(self, work: Work) -> None:
        work.store.release(work.lease)
        assert work.store.due(HOUR) == ["web"]

    def test_what_was_asked_for_while_it_was_held_is_due_though_it_is_released_idle(self, work: Work) -> None:
        other = Work(work.store, "other")
        work.store.ask(request_to(work.id, START), happened())
        work.store.release(work.lease, Idle(until=START + MINUTE, edition="1"))
        other.store.release(other.lease, Idle(until=START + MINUTE, edition="1"))
        assert work.store.due(HOUR) == ["web"]

    def test_a_claim_makes_due_whatever_becomes_of_it(self, work: Work, clock: VirtualClock) -> None:
        work.store.release(work.lease, Idle(until=START + MINUTE, edition="1"))
        work.store.claim(work.id, holder_elsewhere(), SECOND)
        assert work.store.due(HOUR) == ["web"]

    def test_a_word_of_idleness_from_a_lost_lease_does_not_count(self, work: Work, clock: VirtualClock) -> None:
        clock.advance(HOUR)
        work.store.claim(work.id, holder_elsewhere(), MINUTE)
        work.store.release(work.lease, Idle(until=START + 2 * HOUR, edition="1"))
        assert work.store.due(2 * HOUR) == ["web"]

    def test_a_time_further_away_than_any_is_of_a_clock_that_was_set_back(self, work: Work) -> None:
        work.store.release(work.lease, Idle(until=START + HOUR, edition="1"))
        assert work.store.due(HOUR) == []
        assert work.store.due(HOUR - SECOND) == ["web"]

    def test_who_waits_longest_comes_first(self, store: Store, clock: VirtualClock) -> None:
        for minutes, credential in enumerate(store.enroll({"c": "p", "a": "p", "b": "p"}, "me")):
            lease = store.claim(credential.id, holder_elsewhere(), MINUTE)
            assert isinstance(lease, Lease)
            store.release(lease, Idle(until=START + (3 - minutes) * MINUTE, edition="1"))
        clock.advance(HOUR)
        assert store.due(HOUR) == ["c", "b", "a"]

    def test_another_edition_of_the_configuration_makes_due(self, work: Work) -> None:
        work.store.release(work.lease, Idle(until=START + MINUTE, edition="1"))
        work.store.stir({"web": "1", "unknown": "2"})
        work.store.stir({})
        assert work.store.due(HOUR) == []
        work.store.stir({"web": "2"})
        assert work.store.due(HOUR) == ["web"]

    @pytest.mark.parametrize("told", ["ask", "pause", "move", "sight", "unmanage"])
    def test_whatever_is_told_without_a_lease_makes_due(self, work: Work, told: str) -> None:
        store, name = work.store, "web"
        store.release(work.lease, Idle(until=START + MINUTE, edition="1"))
        if told == "ask":
            store.ask(request_to(work.id, START), happened("request.started"))
        elif told == "pause":
            store.pause(work.id, Pause(by="ann", lasts=None, why="w"), happened("pause.succeeded"))
        elif told == "move":
            store.move(work.id, name := "another", happened("move.succeeded"))
        elif told == "sight":
            word = Sighting(credential_id=work.id, consumer="app", fingerprint="f" * 32, seen_at=START)
            store.sight(word, happened("seen.succeeded"))
        else:
            store.enroll({}, "me")
        assert store.due(HOUR) == [name]

    def test_a_credential_is_found_by_its_name(self, work: Work) -> None:
        found = work.store.credential("web")
        assert found is not None
        assert found.id == work.id
        assert work.store.credential("unknown") is None

    def test_a_lease_released_late_has_no_calls_left_to_fence(self, work: Work, clock: VirtualClock) -> None:
        clock.advance(HOUR)
        work.store.release(work.lease)
        lease = work.store.claim(work.id, holder_elsewhere(), MINUTE)
        assert isinstance(lease, Lease)
        assert lease.fenced_at is None

    def test_the_last_fence_is_remembered_after_a_clean_release(self, work: Work, clock: VirtualClock) -> None:
        fenced = clock.advance(HOUR)
        second = work.store.claim(work.id, holder_elsewhere("second"), MINUTE)
        assert isinstance(second, Lease)
        work.store.release(second)
        third = work.store.claim(work.id, holder_elsewhere("third"), MINUTE)
        assert isinstance(third, Lease)
        assert (third.epoch, third.fenced_at) == (3, fenced)

    def test_a_call_left_without_an_answer_is_remembered_after_a_clean_release(
        self, work: Work, clock: VirtualClock
    ) -> None:
        late = clock.advance(SECOND)
        renewed = work.store.renew(replace(work.lease, fenced_at=late), MINUTE)
        assert renewed.fenced_at == late
        later = clock.advance(SECOND)
        work.store.release(replace(renewed, fenced_at=later))
        following = work.store.claim(work.id, holder_elsewhere("second"), MINUTE)
        assert isinstance(following, Lease)
        assert following.fenced_at == later

    def test_a_dead_process_of_this_host_loses_its_lease_at_once(self, work: Work, clock: VirtualClock) -> None:
        work.store.release(work.lease)
        script = "from rotator.store.holder import this_process; print(this_process('w'))"
        ended = subprocess.run([sys.executable, "-c", script], env=_child(), capture_output=True, text=True, check=True)
        dead = work.store.claim(work.id, ended.stdout.strip(), HOUR)
        now = clock.advance(SECOND)
        lease = work.store.claim(work.id, this_process("w"), MINUTE)
        assert isinstance(dead, Lease)
        assert isinstance(lease, Lease)
        assert (lease.epoch, lease.fenced_at) == (dead.epoch + 1, now)

    def test_a_living_process_of_this_host_keeps_its_lease(self, work: Work, clock: VirtualClock) -> None:
        work.store.release(work.lease)
        script = "from rotator.store.holder import this_process; print(this_process('w'), flush=True); input()"
        child = subprocess.Popen(
            [sys.executable, "-c", script], env=_child(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with child:
            assert child.stdout is not None
            taken = work.store.claim(work.id, child.stdout.readline().strip(), HOUR)
            clock.advance(MINUTE)
            second = work.store.claim(work.id, this_process("w"), MINUTE)
            child.communicate("\n", timeout=10)
        assert isinstance(taken, Lease)
        assert second == Held(taken)

    @pytest.mark.parametrize(
        ("change", "dead"),
        [
            ({"started": "1"}, True),  # the process id was given to another process
            ({"started": "1", "host": "elsewhere"}, False),
            ({"started": "1", "boot": "another"}, False),
            ({"started": "1", "pids": "pid:[1]"}, False),  # another container on the same machine
            ({"started": None}, False),
            ({"pid": "1"}, False),
            ({}, False),
        ],
    )
    def test_only_what_is_proved_dead_is_dead(self, work: Work, change: dict[str, Any], dead: bool) -> None:
        work.store.release(work.lease)
        holder = json.dumps({**json.loads(this_process("w")), **change})
        work.store.claim(work.id, holder, HOUR)
        assert isinstance(work.store.claim(work.id, this_process("mine"), HOUR), Lease) is dead

    @pytest.mark.parametrize("holder", ["", "not JSON", "[]", "{}", f'{{"host": "{socket.gethostname()}"}}'])
    def test_a_holder_that_says_too_little_may_be_alive(self, work: Work, holder: str) -> None:
        work.store.release(work.lease)
        work.store.claim(work.id, holder, HOUR)
        assert isinstance(work.store.claim(work.id, this_process("mine"), HOUR), Held)

    def test_of_two_that_claim_at_once_one_wins(self, store: Store) -> None:
        names = {f"web-{number:02}": "openai" for number in range(50)}
        for credential in store.enroll(names, "me"):
            outcomes = at_once(2, lambda n, web: store.claim(web.id, holder_elsewhere(f"w{n}"), MINUTE), credential)
            won = [outcome for outcome in outcomes if isinstance(outcome, Lease)]
            lost = [outcome for outcome in outcomes if isinstance(outcome, Held)]
            assert lost == [Held(won[0])], outcomes

    def test_a_renewed_lease_lasts_from_now(self, work: Work, clock: VirtualClock) -> None:
        now = clock.advance(30 * SECOND)
        renewed = work.store.renew(work.lease, MINUTE)
        assert renewed == replace(work.lease, until=now + MINUTE)
        assert work.store.lease(work.id) == renewed

    def test_a_lease_that_is_ours_no_more_is_not_renewed(self, work: Work, clock: VirtualClock) -> None:
        clock.advance(MINUTE)
        with pytest.raises(StaleLease):
            work.store.renew(work.lease, MINUTE)
        taken = work.store.claim(work.id, holder_elsewhere(), MINUTE)
        with pytest.raises(StaleLease):
            work.store.renew(work.lease, MINUTE)
        assert work.store.lease(work.id) == taken

    def test_a_released_lease_is_not_renewed(self, work: Work) -> None:
        work.store.release(work.lease)
        with pytest.raises(StaleLease):
            work.store.renew(work.lease, MINUTE)

    def test_releasing_a_lost_lease_leaves_its_successor_alone(self, work: Work, clock: VirtualClock) -> None:
        clock.advance(MINUTE)
        taken = work.store.claim(work.id, holder_elsewhere(), MINUTE)
        work.store.release(work.lease)
        work.store.release(work.lease)
        assert work.store.lease(work.id) == taken

    def test_credentials_are_leased_apart(self, store: Store) -> None:
        web, deployer = Work(store, "web"), Work(store, "deployer")
        store.release(web.lease)
        assert store.lease(deployer.id) == deployer.lease

    # Recording

    def test_every_field_of_every_row_comes_back(self, work: Work) -> None:
        version = _filled(work.version(VersionState.CURRENT))
        rotation = _filled(work.rotation(target_id=version.id, beside_id=version.id))
        retirement = _filled(work.retirement(version, keep=("key_1", "key_2")))
        delivery = _filled(work.delivery(rotation))
        placement = _filled(work.placement(version_id=version.id, observed=Observed.FOREIGN))
        work.insert(version, rotation, retirement, delivery)
        work.record(Place(placement))
        assert work.load() == Situation(
            credential=work.credential,
            versions=[version],
            rotation=rotation,
            deliveries=[delivery],
            retirements=[retirement],
            placements=[placement],
            last_completed_at=version.current_at,
            creates=[version.sent_at] if version.sent_at else [],
        )
        assert list(work.load().deliveries[0].templates) == ["Z_LAST", "A_FIRST"]

    def test_an_update_sets_what_it_names_and_keeps_the_rest(self, work: Work) -> None:
        version, rotation = work.version(), work.rotation()
        work.insert(version, rotation)
        changes: dict[str, Any] = {
            "state": RotationState.CREATED,
            "target_id": version.id,
            "grace": 90 * MINUTE,
            "not_before": START + HOUR,
            "blocked": True,
        }
        work.record(Update(rotation, changes), Update(version, {"key_id": "key_1"}))
        after = work.load()
        assert after.rotation == replace(rotation, **changes)
        assert after.target == replace(version, key_id="key_1")

    def test_events_are_given_back_as_they_are_stored(self, work: Work, clock: VirtualClock) -> None:
        now = clock.advance(SECOND)
        given = work.record(
            events=[happened(credential="web", attempt=2, detail={"b": [1, None], "a": "ä"}), happened()]
        )
        assert list(given) == whole_trail(work.store)[-2:]
        assert [event.seq for event in given] == [given[0].seq, given[0].seq + 1]
        body = json.loads(given[0].body)
        assert body.pop("previous_hash") == whole_trail(work.store)[-3].hash
        assert body == {
            "seq": given[0].seq,
            "at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "actor": "test",
            "event": "push.succeeded",
            "credential": "web",
            "rotation": None,
            "version": None,
            "key_id": None,
            "destination": None,
            "attempt": 2,
            "reason": None,
            "detail": {"b": [1, None], "a": "ä"},
        }

    def _refused(self, work: Work, refusal: type[Exception], *writes: Write, lease: Lease | None = None) -> str:
        """Say why; and see that nothing of the record was written."""
        before, told = work.load(), whole_trail(work.store)
        with pytest.raises(refusal) as refused:
            work.store.record(lease or work.lease, [Place(work.placement("MARK")), *writes], [happened()])
        assert work.load() == before
        assert whole_trail(work.store) == told
        return str(refused.value)

    def test_a_worker_whose_lease_was_taken_over_writes_nothing(self, work: Work, clock: VirtualClock) -> None:
        clock.advance(MINUTE)
        work.store.claim(work.id, holder_elsewhere(), HOUR)
        assert "taken over" in self._refused(work, StaleLease, Insert(work.rotation()))

    def test_a_worker_whose_lease_expired_writes_nothing(self, work: Work, clock: VirtualClock) -> None:
        clock.advance(MINUTE)
        assert "expired" in self._refused(work, StaleLease, Insert(work.rotation()))

    def test_a_worker_that_released_its_lease_writes_nothing(self, work: Work) -> None:
        work.store.release(work.lease)
        assert "released" in self._refused(work, StaleLease, Insert(work.rotation()))

    def test_a_worker_with_a_renewed_lease_writes(self, work: Work, clock: VirtualClock) -> None:
        clock.advance(30 * SECOND)
        work.store.renew(work.lease, MINUTE)
        clock.advance(45 * SECOND)
        work.insert(work.rotation())  # under the lease as it was first given: the epoch is what counts
        assert work.load().rotation is not None

    def test_an_update_from_another_state_is_refused_with_all_of_its_record(self, work: Work) -> None:
        rotation = work.rotation()
        work.insert(rotation)
        work.record(Update(rotation, {"state": RotationState.CREATED}))
        why = self._refused(work, StaleLease, Update(rotation, {"state": RotationState.ABANDONED}))
        assert rotation.id in why

    def test_an_update_that_sets_nothing_is_still_a_guard(self, work: Work) -> None:
        rotation = work.rotation()
        work.insert(rotation)
        work.record(Update(rotation, {}))
        assert work.load().rotation == rotation
        self._refused(work, StaleLease, Update(replace(rotation, state=RotationState.CREATED), {}))

    def test_an_update_of_no_row_is_refused(self, work: Work) -> None:
        self._refused(work, StaleLease, Update(work.rotation(), {"attempt": 1}))

    @pytest.mark.parametrize("field", ["no_such_field", "id", "credential_id"])
    def test_an_update_of_what_cannot_be_set_is_a_mistake(self, work: Work, field: str) -> None:
        rotation = work.rotation()
        work.insert(rotation)
        assert field in self._refused(work, ValueError, Update(rotation, {field: "x"}))

    def test_a_row_of_another_credential_is_a_mistake(self, work: Work) -> None:
        other = Work(work.store, "other")
        rotation = other.rotation()
        other.insert(rotation)
        self._refused(work, ValueError, Insert(other.version()))
        self._refused(work, ValueError, Update(rotation, {"attempt": 1}))
        self._refused(work, ValueError, Place(other.placement()))

    def test_a_second_open_rotation_is_refused(self, work: Work) -> None:
        rotation = work.rotation()
        work.insert(rotation)
        assert "one_open_rotation" in self._refused(work, StaleLease, Insert(work.rotation()))
        back = work.rotation(cause=Cause.PUT_BACK)
        work.record(Update(rotation, {"state": RotationState.ABANDONED}), Insert(back))
        assert work.load().rotation == back

    def test_a_second_current_version_is_refused(self, work: Work) -> None:
        old, new = work.version(VersionState.CURRENT), work.version()
        work.insert(old, new)
        promote = Update(new, {"state": VersionState.CURRENT})
        assert "one_current_version" in self._refused(work, StaleLease, promote)
        work.record(Update(old, {"state": VersionState.PREVIOUS}), promote)
        assert work.load().current == replace(new, state=VersionState.CURRENT)

    def test_one_key_of_an_account_has_one_row(self, work: Work) -> None:
        other = Work(work.store, "other")
        other.insert(other.version(key_id="key_1"), other.version(), other.version())
        why = self._refused(work, StaleLease, Insert(work.version(key_id="key_1")))
        assert "key_id" in why
        work.insert(work.version(key_id="key_1", account="aws:123456789012"))

    def test_a_version_number_is_given_once(self, work: Work) -> None:
        work.insert(work.version(number=7))
        assert "number" in self._refused(work, StaleLease, Insert(work.version(number=7)))

    def test_a_second_open_retirement_of_a_version_is_refused(self, work: Work) -> None:
        version, other = work.version(), work.version()
        retirement = work.retirement(version)
        work.insert(version, other, retirement, work.retirement(other))
        why = self._refused(work, StaleLease, Insert(work.retirement(version)))
        assert "one_open_retirement" in why
        again = work.retirement(version, opened_at=START + HOUR)
        work.record(Update(retirement, {"state": RetirementState.CANCELLED}), Insert(again))
        assert work.load().retirement_of(version.id) == again

    def test_of_two_threads_that_move_one_row_one_succeeds(self, work: Work) -> None:
        for _ in range(10):
            rotation = work.rotation()
            work.insert(rotation)
            move = Update(rotation, {"state": RotationState.ABANDONED})
            outcomes = at_once(2, lambda _, move: work.record(move, events=[happened()]), move)
            refused = [outcome for outcome in outcomes if isinstance(outcome, StaleLease)]
            written = [outcome for outcome in outcomes if isinstance(outcome, Sequence)]
            assert (len(refused), len(written)) == (1, 1), outcomes

    # Loading

    def test_an_empty_credential_loads_empty(self, work: Work) -> None:
        assert work.load() == Situation(
            credential=work.credential,
            versions=[],
            rotation=None,
            deliveries=(),
            retirements=[],
            placements=[],
            last_completed_at=None,
            creates=[],
        )

    def test_an_unknown_credential_is_a_mistake(self, store: Store) -> None:
        with pytest.raises(LookupError):
            store.load(CredentialId("none"))

    def test_what_is_closed_is_left_out(self, work: Work) -> None:
        first, second, third = (work.version(VersionState.RETIRED) for _ in range(3))
        living = work.version(VersionState.CONDEMNED)
        done = work.rotation(RotationState.ABANDONED)
        gone = work.retirement(first, state=RetirementState.DELETED)
        work.insert(first, second, third, living, done, gone, work.delivery(done))
        loaded = work.load()
        assert loaded.versions == [third, living]  # the newest retired one, and all living ones
        assert (loaded.rotation, list(loaded.retirements), list(loaded.deliveries)) == (None, [], [])

    def test_a_retired_version_that_open_work_names_is_loaded(self, work: Work) -> None:
        first, second, third = (work.version(VersionState.RETIRED) for _ in range(3))
        work.insert(first, second, third, work.rotation(target_id=first.id), work.retirement(second))
        assert work.load().versions == [first, second, third]

    def test_writes_that_were_never_acknowledged_are_loaded_until_their_key_is_gone(self, work: Work) -> None:
        condemned, retired = work.version(VersionState.CONDEMNED), work.version(VersionState.RETIRED)
        given_up = work.rotation(RotationState.ABANDONED, target_id=condemned.id)
        before = work.rotation(RotationState.ABANDONED, target_id=retired.id)
        sent = [work.delivery(given_up, position, started=True) for position in (1, 0)]
        other = work.delivery(given_up, 2)
        known = work.delivery(given_up, 3, started=True, state=DeliveryState.PUSHED)
        work.insert(condemned, retired, given_up, before, *sent, other, known, work.delivery(before, started=True))
        assert work.load().unacknowledged == {}, "nothing is being taken away"
        work.insert(work.retirement(condemned))
        assert work.load().unacknowledged == {condemned.id: [sent[1], sent[0]]}
        work.record(Update(sent[0], {"started": False}))
        assert work.load().unacknowledged == {condemned.id: [sent[1]]}
        work.record(Update(condemned, {"state": VersionState.RETIRED}))
        assert work.load().unacknowledged == {}

    def test_a_write_of_a_living_key_counts_until_its_place_is_written_again(self, work: Work) -> None:
        version = work.version(VersionState.PREVIOUS)
        given_up = work.rotation(RotationState.ABANDONED, cause=Cause.ADDED, target_id=version.id, closed_at=START)
        sent = work.delivery(given_up, started=True)
        work.insert(version, given_up, sent, work.retirement(version))
        work.record(Place(work.placement("OTHER", placed_at=START - SECOND)))
        work.record(Place(work.placement("ELSEWHERE", identity="elsewhere", placed_at=START + SECOND)))
        assert work.load().unacknowledged == {version.id: [sent]}
        work.record(Place(work.placement(placed_at=START + SECOND)))
        assert work.load().unacknowledged == {}

    def test_shadows_that_may_still_stand_are_kept_apart_until_their_key_is_gone(self, work: Work) -> None:
        condemned = work.version(VersionState.CONDEMNED, number=1)
        rehearsed = work.rotation(RotationState.ABANDONED, cause=Cause.REHEARSAL, target_id=condemned.id)
        states = (DeliveryState.VERIFIED, DeliveryState.PLANNED, DeliveryState.PUSHED)
        stands = [work.delivery(rehearsed, n, started=True, state=state) for n, state in enumerate(states)]
        work.insert(condemned, rehearsed, *stands, work.delivery(rehearsed, 3), work.retirement(condemned))
        assert work.load().shadows == {condemned.id: stands}
        assert work.load().unacknowledged == {}
        work.record(Update(stands[0], {"started": False}))
        assert work.load().shadows == {condemned.id: stands[1:]}
        work.record(Update(condemned, {"state": VersionState.RETIRED}))
        assert work.load().shadows == {}

    def test_one_credential_loads_nothing_of_another(self, work: Work) -> None:
        other = Work(work.store, "other")
        version = other.version(VersionState.RETIRED, sent_at=START, number=99)
        rotation = other.rotation(target_id=version.id)
        other.insert(version, rotation, other.retirement(version), other.delivery(rotation))
        other.record(Place(other.placement()))
        mine = work.version(VersionState.RETIRED)
        work.insert(mine)
        assert work.load().versions == [mine]
        assert work.load() == replace(
            work.load(), rotation=None, deliveries=(), retirements=[], placements=[], creates=[]
        )

    def test_deliveries_and_retirements_come_in_order(self, work: Work) -> None:
        rotation = work.rotation()
        versions = [work.version() for _ in range(3)]
        deliveries = [work.delivery(rotation, position) for position in (2, 0, 1)]
        ages = (HOUR, 0 * HOUR, DAY)
        opened = [work.retirement(v, opened_at=START - age) for v, age in zip(versions, ages, strict=True)]
        work.insert(rotation, *versions, *deliveries, *opened)
        loaded = work.load()
        assert [delivery.position for delivery in loaded.deliveries] == [0, 1, 2]
        assert loaded.retirements == [opened[2], opened[0], opened[1]]

    def test_requests_to_create_count_for_a_day(self, work: Work, clock: VirtualClock) -> None:
        sent = [START - DAY, START - DAY + SECOND, None, START]
        work.insert(*reversed([work.version(VersionState.RETIRED, sent_at=moment) for moment in sent]))
        assert work.load().creates == [START - DAY + SECOND, START]
        clock.advance(DAY)
        assert work.load().creates == []

    def test_the_last_completed_rotation_is_one_that_made_a_new_key_current(
        self, work: Work, clock: VirtualClock
    ) -> None:
        def closed(after: timedelta, state: RotationState, cause: Cause) -> Rotation:
            return work.rotation(state, cause=cause, closed_at=START + after)

        work.insert(
            closed(HOUR, RotationState.COMPLETED, Cause.FIRST),
            closed(2 * HOUR, RotationState.COMPLETED, Cause.COMPROMISED),
            closed(3 * HOUR, RotationState.ABANDONED, Cause.SCHEDULE),
            closed(4 * HOUR, RotationState.COMPLETED, Cause.PUT_BACK),
            closed(5 * HOUR, RotationState.COMPLETED, Cause.ADDED),
        )
        assert work.load().last_completed_at is None, "what is dated in the future does not count"
        clock.advance(6 * HOUR)
        assert work.load().last_completed_at == START + 2 * HOUR

    def test_an_adopted_key_counts_as_completed(self, work: Work) -> None:
        adopted = work.version(VersionState.CURRENT, current_at=START - DAY)
        work.insert(adopted, work.version(VersionState.PREVIOUS, current_at=START))
        assert work.load().last_completed_at == START - DAY

    def test_a_version_of_any_credential_is_found_by_its_id(self, work: Work) -> None:
        version = work.version()
        work.insert(version)
        assert work.store.version(version.id) == version
        assert work.store.version(VersionId("none")) is None

    def test_every_key_ever_known_in_an_account_is_known(self, work: Work) -> None:
        other = Work(work.store, "other")
        work.insert(work.version(VersionState.RETIRED, key_id="key_1"), work.version(key_id="key_2"), work.version())
        other.insert(other.version(key_id="key_3"), other.version(key_id="key_4", account="elsewhere"))
        assert work.store.known_keys(ACCOUNT) == {"key_1": "web", "key_2": "web", "key_3": "other"}
        assert work.store.known_keys("nowhere") == {}

    @pytest.mark.parametrize("more", [0, 5000])
    def test_of_some_keys_is_told_which_are_known(self, work: Work, more: int) -> None:
        work.insert(work.version(VersionState.RETIRED, key_id="key_1"), work.version(key_id="key_2"))
        asked = {"key_2", "key_9", *(f"more_{number}" for number in range(more))}
        assert work.store.known_keys(ACCOUNT, asked) == {"key_2": "web"}
        assert work.store.known_keys(ACCOUNT, []) == {}
        assert work.store.known_keys("nowhere", asked) == {}

    # Placements

    def test_a_placement_replaces_the_one_before_it(self, work: Work) -> None:
        version = work.version()
        work.insert(version)
        work.record(Place(work.placement()), Place(work.placement("OTHER")))
        newer = work.placement(version_id=version.id, fingerprint="f2", revision=None)
        work.record(Place(newer))
        assert work.store.placed(PLACE) == {"OPENAI_API_KEY": newer, "OTHER": work.placement("OTHER")}
        assert work.load().placements == [newer, work.placement("OTHER")]

    def test_the_whole_body_is_a_field_too(self, work: Work) -> None:
        work.record(Place(work.placement("")))
        assert work.store.placed(PLACE) == {"": work.placement("")}

    def test_a_placement_can_be_forgotten(self, work: Work) -> None:
        work.record(Place(work.placement()), Place(work.placement("OTHER")))
        work.record(Unplace(PLACE, "OPENAI_API_KEY"), Unplace(PLACE, "NEVER_THERE"))
        assert work.store.placed(PLACE) == {"OTHER": work.placement("OTHER")}

    def test_what_another_credential_placed_is_not_forgotten(self, work: Work) -> None:
        other = Work(work.store, "other")
        other.record(Place(other.placement()))
        work.record(Unplace(PLACE, "OPENAI_API_KEY"))
        assert work.store.placed(PLACE) == {"OPENAI_API_KEY": other.placement()}
        work.record(Place(work.placement()))  # the configuration gave the field to this one
        assert work.store.placed(PLACE) == {"OPENAI_API_KEY": work.placement()}
        assert other.load().placements == []

    # Material

    def test_material_comes_back_as_it_was_sealed(self, work: Work) -> None:
        version = work.version()
        material = Material.of(access_key_id="AKIA", secret_access_key='ä"\n\\ \0 🔑')
        work.record(Insert(version), Seal(version.id, material))
        assert work.store.material(version.id) == material

    def test_material_that_was_never_kept_is_none(self, work: Work) -> None:
        assert work.store.material(work.version().id) is None

    def test_sealing_again_replaces(self, work: Work) -> None:
        version = work.version()
        work.record(Insert(version), Seal(version.id, Material.of(secret="one")))
        work.record(Seal(version.id, Material.of(secret="two")))
        assert work.store.material(version.id) == Material.of(secret="two")

    def test_dropped_material_is_gone(self, work: Work) -> None:
        version = work.version()
        work.record(Insert(version), Seal(version.id, Material.of(secret="one")))
        work.record(DropSealed(version.id))
        work.record(DropSealed(version.id))
        assert work.store.material(version.id) is None

    def test_material_of_a_refused_record_is_not_kept(self, work: Work, clock: VirtualClock) -> None:
        version = work.version()
        work.insert(version)
        clock.advance(MINUTE)
        self._refused(work, StaleLease, Seal(version.id, Material.of(secret="late")))
        assert work.store.material(version.id) is None

    # Findings

    def test_a_finding_is_found_once(self, store: Store, clock: VirtualClock) -> None:
        first = finding()
        assert store.find(first, happened("stranger.found"))
        clock.advance(HOUR)
        assert not store.find(finding(message="again"), happened("stranger.found"))
        assert store.findings() == [first]
        assert [body["event"] for body in bodies(whole_trail(store))].count("stranger.found") == 1

    def test_findings_of_another_kind_or_subject_stand_beside_it(self, store: Store) -> None:
        found = [finding(), finding("other", found_at=START - HOUR), finding(kind="clock", found_at=START - DAY)]
        assert all(store.find(each, happened("stranger.found")) for each in found)
        assert store.findings() == [found[2], found[1], found[0]]

    def test_findings_of_one_credential_come_with_what_stops_all(self, work: Work) -> None:
        other, mine = Work(work.store, "other").id, work.id
        own = finding("mine", credential_id=mine)
        stops = finding("key_9", kind="reconcile", credential_id=other)
        for each in (own, stops, finding("not mine", credential_id=other), finding("nobody's", kind="clock")):
            work.store.find(each, happened(f"{each.kind}.found"))
        assert {f.subject for f in work.store.findings(mine)} == {"mine", "key_9"}

    def test_a_standing_finding_is_told_by_its_kind_and_subject(self, store: Store) -> None:
        newer, older = finding("newer", found_at=START), finding("older", found_at=START - DAY)
        for each in (newer, older):
            store.find(each, happened("stranger.found"))
        assert store.standing("stranger") == older
        assert store.standing("stranger", "newer") == newer
        assert store.standing("stranger", "none") is None
        assert store.standing("clock") is None
        store.clear("stranger", "older", happened("stranger.cleared"))
        assert store.standing("stranger") == newer

    def test_a_cleared_finding_can_be_found_again(self, store: Store) -> None:
        store.find(finding(), happened("stranger.found"))
        assert store.clear("stranger", "web", happened("stranger.cleared"))
        assert store.findings() == []
        assert not store.clear("stranger", "web", happened("stranger.cleared"))
        again = finding()
        assert store.find(again, happened("stranger.found"))
        assert store.findings() == [again]
        told = [body["event"] for body in bodies(whole_trail(store))][-3:]
        assert told == ["stranger.found", "stranger.cleared", "stranger.found"]

    def test_of_workers_that_find_it_at_once_one_finds_it(self, store: Store) -> None:
        outcomes = at_once(6, lambda _: store.find(finding(), happened("stranger.found")))
        assert sorted(outcomes) == [False] * 5 + [True]
        outcomes = at_once(6, lambda _: store.clear("stranger", "web", happened("stranger.cleared")))
        assert sorted(outcomes) == [False] * 5 + [True]

    # The trail

    def test_events_without_a_row_are_noted(self, store: Store) -> None:
        noted = store.note([happened("init.started"), happened("init.failed")])
        assert list(noted) == whole_trail(store)[-2:]
        assert list(store.note([])) == []

    def test_the_trail_can_be_read_on(self, store: Store) -> None:
        store.note([happened() for _ in range(5)])
        everything = whole_trail(store)
        assert [event.seq for event in everything] == list(range(1, len(everything) + 1))
        assert list(store.events(after=everything[1].seq)) == everything[2:]
        assert list(store.events(after=everything[-1].seq)) == []

    def test_another_policy_is_told_once(self, store: Store) -> None:
        def entry(**policy: object) -> dict[str, str]:
            return {"web": json.dumps({"provider": "openai", "policy": policy})}

        for entries in (entry(grace="1h"), entry(grace="1h"), entry(grace="2h", cron="0 9 * * *"), {}):
            store.enroll({"web": "openai"}, "me", entries, "a1b2c3")
        store.enroll({"web": "openai"}, "you", entry(grace="2h"))
        told = [body for body in bodies(whole_trail(store)) if body["event"] == "policy.succeeded"]
        details = [body["detail"] for body in told]
        assert [body["actor"] for body in told] == ["me", "you"]
        assert (details[0]["old"], details[0]["new"]) == ({"grace": "1h"}, {"cron": "0 9 * * *", "grace": "2h"})
        assert [detail["revision"] for detail in details] == ["a1b2c3", None]
        assert details[0]["hash"] == sha256(b'{"cron":"0 9 * * *","grace":"2h"}').hexdigest()
        assert details[1]["hash"] == sha256(b'{"grace":"2h"}').hexdigest()

    def test_so_much_of_the_trail_is_read(self, store: Store) -> None:
        store.note([happened(attempt=number) for number in range(5)])
        assert list(store.events(1, limit=3)) == whole_trail(store)[1:4]
        assert list(store.events(limit=0)) == []
        assert len(list(store.events(limit=100))) == len(whole_trail(store))

    def test_a_follower_is_what_was_last_noted(self, store: Store) -> None:
        assert store.followers() == {}
        full = _filled(Follower(name="sink:siem"))
        assert store.note_follower("sink:siem", lambda _: full) == full
        assert store.note_follower("notify:ops", lambda row: replace(row, seq=7)) == Follower(name="notify:ops", seq=7)
        assert list(store.followers().items()) == [
            ("notify:ops", Follower(name="notify:ops", seq=7)),
            (full.name, full),
        ]

    def test_a_follower_is_forgotten_once_and_told(self, store: Store) -> None:
        store.note_follower("sink:siem", lambda row: replace(row, seq=7))
        told = happened("forget.succeeded", destination="sink:siem")
        assert store.forget_follower("sink:siem", told)
        assert not store.forget_follower("sink:siem", told)
        assert store.followers() == {}
        assert [body["event"] for body in bodies(whole_trail(store)) if body["destination"]] == ["forget.succeeded"]

    def test_a_follower_is_changed_by_one_at_a_time(self, store: Store) -> None:
        def count(_: int) -> None:
            for _ in range(10):
                store.note_follower("sink:siem", lambda row: replace(row, seq=row.seq + 1))

        assert at_once(4, count) == [None] * 4
        assert store.followers()["sink:siem"].seq == 40

    def test_the_notices_of_a_route_are_kept_by_whoever_has_its_turn(self, store: Store) -> None:
        store.note_follower("notify:ops", lambda row: replace(row, taken_by="turn"))
        rows = {key: _outgoing(key, full=full) for key, full in (("drift:web", True), ("event:7", False))}
        give = partial(store.keep_notices, "notify:ops", "turn", "ops")
        assert give(put=list(rows.values()), drop=(), seq=7)
        assert store.notices("ops") == rows
        assert store.notices("other") == {}
        assert store.followers()["notify:ops"].seq == 7
        told = replace(rows["drift:web"], state=NoticeState.TOLD, told_at=START)
        assert give(put=[told], drop=["event:7", "unknown"], seq=9)
        assert store.notices("ops") == {"drift:web": told}
        assert not store.keep_notices("notify:ops", "another", "ops", put=(), drop=["drift:web"], seq=11)
        assert not store.keep_notices("notify:new", "turn", "ops", put=(), drop=["drift:web"], seq=11)
        assert store.notices("ops") == {"drift:web": told}
        assert store.followers()["notify:ops"].seq == 9

    def test_the_time_of_the_last_event_is_known(self, store: Store, clock: VirtualClock) -> None:
        clock.advance(HOUR)
        store.note([happened()])
        clock.advance(HOUR)
        assert store.last_event_at() == START + HOUR

    def test_a_float_in_an_event_is_a_mistake(self, store: Store) -> None:
        with pytest.raises(TypeError):
            store.note([happened(detail={"seconds": 0.5})])

    def test_odd_characters_stop_no_event(self, store: Store) -> None:
        store.note([NewEvent(event="init.failed", actor="cli:\udce4\0", detail={"\ud800": "é\u2028🔑"})])
        assert verify_lines(exported(store.events())).problem is None

    def test_the_trail_does_not_fork_under_many_writers(self, store: Store) -> None:
        before = len(whole_trail(store))
        web = Work(store, "web")

        def write(number: int) -> None:
            for _ in range(10):
                store.note([happened(attempt=number), happened()])
                store.record(web.lease, [Place(web.placement(f"F{number}"))], [happened(), happened()])

        assert at_once(8, write) == [None] * 8
        trail = whole_trail(store)
        assert len(trail) == before + 1 + 8 * 10 * 4  # and the enrolment
        assert all(json.loads(after.body)["previous_hash"] == one.hash for one, after in pairwise(trail))
        verification = verify_lines(exported(trail))
        assert (verification.count, verification.problem) == (len(trail), None)

    def test_the_last_checkpoint_is_of_all_events_before_its_own(self, store: Store) -> None:
        assert store.last_checkpoint() is None
        for number in range(3):
            store.note([happened("checkpoint.succeeded", detail={"checkpoint": f"note {number}\n"}), happened()])
        seq, at = store.head()[0], store.now()
        assert store.last_checkpoint() == Checkpoint(size=seq - 2, at=at, note="note 2\n")


def _child() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def _outgoing(key: str, *, full: bool) -> Outgoing:
    notice = Notice(
        key=key,
        event="drift.found",
        severity=Severity.CRITICAL,
        lasts=full,
        message="ä",
        since=START + MINUTE / 7,
        seq=4,
    )
    row = Outgoing(route="ops", notice=notice, state=NoticeState.NEW, changed_at=START)
    if not full:
        return row
    notice = replace(_filled(notice), labels={"team": "wéb"})
    return replace(row, notice=notice, state=NoticeState.OVER, times=3, told_at=START + MINUTE)


def _filled(row: Any) -> Any:
    """The row with a value in every field that was left at its default."""
    examples: Iterator[int] = count(1)
    given: dict[str, Any] = {}
    for field in fields(row):
        value, number = getattr(row, field.name), next(examples)
        kind = str(field.type)
        if value is None and "datetime" in kind:
            given[field.name] = START + number * timedelta(seconds=-1, microseconds=1)
        elif value is None and "timedelta" in kind:
            given[field.name] = number * MINUTE
        elif value is None or value == "":
            given[field.name] = f"{field.name} ä {number}"
        elif value is False:
            given[field.name] = True
        elif value == 0:
            given[field.name] = number
    return replace(row, **given)

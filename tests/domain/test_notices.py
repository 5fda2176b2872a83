"""What a route says, and when: by rows, events and the clock alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rotator.config.cron import CronSchedule
from rotator.domain.events import FINDINGS, Outcome
from rotator.domain.hours import Hours, read_span
from rotator.domain.messages import of_digest, of_notices
from rotator.domain.notices import (
    DIGEST,
    HAPPENINGS,
    Notice,
    Outgoing,
    Route,
    Rows,
    Severity,
    State,
    happened,
    ready,
    take_in,
    told,
)
from tests.docs import source

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def problem(credential: str | None = "web", kind: str = "drift", **changes: Any) -> Notice:
    notice = Notice(
        key=f"{kind}:{credential}",
        event=f"{kind}.found",
        severity=Severity.WARNING,
        lasts=True,
        message=f"{credential} has {kind}",
        since=START,
        seq=7,
        credential=credential,
        provider="openai",
    )
    return replace(notice, **changes)


def event(name: str = "rotation.succeeded", seq: int = 1, credential: str | None = "web", **body: Any) -> Notice:
    line = {
        "seq": seq,
        "at": "2026-11-23T09:00:00.000000Z",
        "actor": "cli:me@host",
        "event": name,
        "credential": credential,
        "rotation": None,
        "version": 3,
        "key_id": "key_abc",
        "destination": None,
        "reason": None,
        "detail": {},
        **body,
    }
    return happened(line, provider="openai")


class Desk:
    """One route over time: what lasts is set, what happened is given, and what was sent is kept."""

    def __init__(self, **route: Any) -> None:
        self.route = Route(name="ops", **({"group_wait": 30 * MINUTE / 60} | route))
        self.rows: Rows = {}
        self.now = START
        self.sent: list[list[tuple[str, str]]] = []

    def look(self, *lasting: Notice, events: Iterable[Notice] = (), after: timedelta = timedelta(0)) -> None:
        self.now += after
        self.rows = take_in(self.route, self.rows, events, lasting, self.now)
        for group in ready(self.route, self.rows, self.now):
            self.sent.append([(row.key, row.state.value) for row in group])
            rows = {row.key: row for row in told(group, self.now)}
            if self.route.digest is not None:
                rows[DIGEST] = replace(self.rows[DIGEST], told_at=self.now)
            self.rows = {**self.rows, **rows}


def test_what_lasts_is_told_once_again_after_a_while_and_when_it_is_over() -> None:
    desk = Desk(repeat=4 * HOUR)
    desk.look(problem())
    assert desk.sent == []  # it waits for others of its group
    for _ in range(9):
        desk.look(problem(), after=MINUTE)
    assert desk.sent == [[("drift:web", "new")]]
    desk.look(problem(), after=4 * HOUR)
    assert desk.sent[1:] == [[("drift:web", "told")]]
    desk.look(after=10 * MINUTE)
    desk.look(after=MINUTE)
    assert desk.sent[2:] == [[("drift:web", "over")]]
    desk.look(after=4 * HOUR)
    assert desk.sent[3:] == []
    assert desk.rows == {}


def test_five_hundred_credentials_of_one_provider_are_one_message() -> None:
    desk = Desk()
    fleet = [problem(f"c{number}") for number in range(500)]
    desk.look(*fleet[:5])
    desk.look(*fleet, after=20 * MINUTE / 60)
    assert desk.sent == []
    desk.look(*fleet, problem("mail", provider="aws"), after=20 * MINUTE / 60)
    assert [len(group) for group in desk.sent] == [500]
    desk.look(*fleet, problem("mail", provider="aws"), after=MINUTE)
    assert [len(group) for group in desk.sent] == [500, 1]


def test_what_comes_later_for_the_same_group_waits_for_the_interval() -> None:
    desk = Desk(group_interval=5 * MINUTE)
    desk.look(problem("a"))
    desk.look(problem("a"), after=MINUTE)
    for _ in range(4):
        desk.look(problem("a"), problem("b"), after=MINUTE)
    assert [len(group) for group in desk.sent] == [1]
    desk.look(problem("a"), problem("b"), after=MINUTE)
    assert desk.sent[1:] == [[("drift:b", "new")]]


def test_a_problem_that_comes_and_goes_is_no_stream_of_messages() -> None:
    desk = Desk(group_interval=HOUR)
    for _ in range(60):
        desk.look(problem(), after=MINUTE / 2)
        desk.look(after=MINUTE / 2)
    assert len(desk.sent) <= 2


def test_what_came_and_went_before_anybody_was_told_is_told_as_that() -> None:
    desk = Desk()
    desk.look(problem())
    desk.look(after=10 * MINUTE / 60)
    desk.look(after=MINUTE)
    assert desk.sent == [[("drift:web", "passed")]]
    between = Desk()  # nobody looked while it stood: the trail has it
    between.look(events=[event("drift.found", 4), event("drift.cleared", 5)])
    between.look(after=MINUTE)
    assert between.sent == [[("event:4", "passed")]]


def test_an_event_that_began_what_lasts_is_not_told_beside_it() -> None:
    desk = Desk()
    desk.look(problem(), events=[event("drift.found", 4)])
    desk.look(problem(), after=MINUTE)
    assert desk.sent == [[("drift:web", "new")]]


def test_a_route_that_was_narrowed_does_not_say_that_what_stands_is_over() -> None:
    desk = Desk(group_wait=timedelta(0), group_interval=MINUTE)
    desk.look(problem(), problem("mail"))
    desk.route = replace(desk.route, reach={"mail": "openai"})
    desk.look(problem(), problem("mail"), after=HOUR)
    desk.look(problem(), after=HOUR)
    assert desk.sent[1:] == [[("drift:mail", "over")]]


def test_the_end_of_what_lasts_has_its_place_in_the_order() -> None:
    desk = Desk(severity=Severity.INFO, group_wait=HOUR)
    desk.look(problem(seq=7))
    desk.look(problem(seq=7), after=HOUR)
    desk.rows = take_in(desk.route, desk.rows, [event(seq=9)], [], desk.now, head=12)
    (group,) = ready(desk.route, desk.rows, desk.now + 2 * HOUR)
    assert [(row.key, row.notice.seq) for row in group] == [("event:9", 9), ("drift:web", 12)]


def test_what_happened_is_told_once_however_often_it_is_taken_in() -> None:
    desk = Desk(severity=Severity.INFO)
    events = [event(seq=3), event(seq=9), event("push.started", 4), event("push.succeeded", 5)]
    desk.look(events=events)
    desk.look(events=events, after=MINUTE)  # a crash after the rows and before the cursor
    desk.look(events=events, after=MINUTE)
    assert desk.sent == [[("event:3", "new"), ("event:9", "new")]]


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        ({"severity": Severity.WARNING}, {"drift.found", "rotation.failed", "compromised.succeeded"}),
        ({"severity": Severity.CRITICAL}, {"compromised.succeeded"}),
        ({"severity": Severity.INFO, "events": ["rotation.*"]}, {"rotation.failed", "rotation.succeeded"}),
        ({"severity": Severity.INFO, "events": ["push.started"]}, {"push.started"}),
        ({"severity": Severity.INFO, "reach": {"mail": "openai"}}, {"account"}),
        ({"severity": Severity.INFO, "reach": {"mail": "aws"}}, set()),
        ({"severity": Severity.WARNING, "reach": {"web": "openai"}, "events": ["drift.*"]}, {"drift.found"}),
    ],
)
def test_a_route_wants_what_its_severity_events_and_credentials_say(route: dict[str, Any], wanted: set[str]) -> None:
    notices = [
        problem(),
        problem(credential=None, event="account", severity=Severity.INFO),
        event("rotation.failed"),
        event("rotation.succeeded"),
        event("push.started"),
        event("compromised.succeeded"),
    ]
    chosen = Route(name="ops", **route)
    found = {notice.event for notice in notices if chosen.wants(notice)}
    assert found - {"account"} == wanted - {"account"}
    if "reach" in route:
        assert ("account" in found) == ("account" in wanted)


def test_what_is_told_of_a_credential_is_in_its_order_whatever_the_groups() -> None:
    for group_by in ("provider", "credential", "owner", "route"):
        desk = Desk(severity=Severity.INFO, group_by=group_by)
        events = [event(seq=seq, credential=name) for seq, name in enumerate("abcabcabc", 1)]
        desk.look(events=events)
        desk.look(after=MINUTE)
        order = [int(key.partition(":")[2]) for group in desk.sent for key, _ in group]
        assert sorted(order) == list(range(1, 10))
        for name in "abc":
            mine = [seq for seq in order if "abcabcabc"[seq - 1] == name]
            assert mine == sorted(mine)


NIGHT = Hours(windows=(read_span("22:00-07:00"),), zone=ZoneInfo("Europe/London"))


def test_quiet_hours_hold_over_midnight_and_what_passes_passes() -> None:
    desk = Desk(quiet=NIGHT, group_wait=timedelta(0))
    desk.now = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    desk.look(problem())
    desk.look(problem(), after=4 * HOUR)  # 03:30
    assert desk.sent == []
    desk.look(problem(), problem("mail", provider="aws", severity=Severity.CRITICAL))
    assert desk.sent == [[("drift:mail", "new")]]
    desk.look(problem(), problem("mail", provider="aws", severity=Severity.CRITICAL), after=3 * HOUR + 29 * MINUTE)
    assert len(desk.sent) == 1  # 06:59
    desk.look(problem(), problem("mail", provider="aws", severity=Severity.CRITICAL), after=MINUTE)
    assert desk.sent[1:] == [[("drift:web", "new")]]


@pytest.mark.parametrize(
    ("begin", "quiet_minutes"),
    [
        (datetime(2026, 3, 28, 22, tzinfo=UTC), 8 * 60),  # the clock goes on at 01:00 UTC
        (datetime(2026, 10, 24, 21, tzinfo=UTC), 10 * 60),  # and back: BST until 01:00 UTC
        (datetime(2026, 11, 23, 22, tzinfo=UTC), 9 * 60),
    ],
)
def test_quiet_hours_go_by_the_wall_clock_when_it_changes(begin: datetime, quiet_minutes: int) -> None:
    route = Route(name="ops", quiet=NIGHT)
    assert not route.is_quiet(begin - MINUTE)
    assert all(route.is_quiet(begin + number * MINUTE) for number in range(quiet_minutes))
    assert not route.is_quiet(begin + quiet_minutes * MINUTE)


def test_a_digest_comes_at_its_slots_and_says_what_stands_also_when_nothing_does() -> None:
    desk = Desk(severity=Severity.INFO, digest=CronSchedule("0 9 * * *", ZoneInfo("Europe/London")))
    desk.look()
    desk.look(problem(), events=[event(seq=3)], after=HOUR)
    assert desk.sent == []
    desk.look(problem(), after=23 * HOUR)
    assert desk.sent == [[("event:3", "new"), ("drift:web", "new")]]
    desk.look(problem(), after=24 * HOUR)
    assert desk.sent[1:] == [[("drift:web", "told")]]
    desk.look(after=24 * HOUR)
    assert desk.sent[2:] == [[("drift:web", "over")]]
    desk.look(after=24 * HOUR)
    assert desk.sent[3:] == [[]]


def test_it_is_told_anew_when_it_gets_worse() -> None:
    desk = Desk(group_interval=MINUTE)
    desk.look(problem())
    desk.look(problem(), after=MINUTE)
    desk.look(problem(severity=Severity.CRITICAL), after=MINUTE)
    desk.look(problem(severity=Severity.CRITICAL), after=MINUTE)
    assert [group[0] for group in desk.sent] == [("drift:web", "new"), ("drift:web", "new")]


def test_a_clock_that_was_set_back_silences_nobody() -> None:
    desk = Desk()
    desk.look(problem())
    desk.look(problem(), after=MINUTE)
    desk.look(problem(), problem("mail"), after=-24 * HOUR)
    desk.look(problem(), problem("mail"), after=6 * MINUTE)
    assert desk.sent[1:] == [[("drift:mail", "new"), ("drift:web", "told")]]  # once too often rather than never


def test_a_message_says_what_where_why_and_what_to_do() -> None:
    row = Outgoing(
        route="ops",
        notice=problem(
            destination="vault:secret/web",
            reason="foreign",
            remedy="`rotator drift web`",
            owner="web@example.com",
            runbook="https://wiki.example/web",
            message="another value stands there",
        ),
        state=State.NEW,
        changed_at=START,
    )
    message = of_notices("prod", [row], START)
    assert message.title == "[prod] new: web: drift"
    assert message.text.splitlines() == [
        "NEW (warning) web: drift",
        "Why: vault:secret/web: another value stands there (foreign)",
        "Since: 2026-11-23T09:00:00Z",
        "To do: `rotator drift web`",
        "Owner: web@example.com",
        "Runbook: https://wiki.example/web",
    ]
    again = of_notices("prod", [row], START + HOUR)
    assert again.id == message.id  # the same content, sent later
    assert of_notices("prod", [replace(row, state=State.OVER)], START).id != message.id


def test_a_message_about_many_is_short() -> None:
    rows = [Outgoing(route="ops", notice=problem(f"c{n}"), state=State.NEW, changed_at=START) for n in range(500)]
    message = of_notices("prod", rows, START)
    assert message.title == "[prod] 500 new: 500 credentials at openai"
    assert "500 credentials (c0, c1, c2, c3, c4 and 495 more): drift" in message.text
    assert len(message.text) < 400
    assert len(message.as_json()["notices"]) == 500


def test_a_digest_counts_the_credentials() -> None:
    message = of_digest("prod", "weekly", [], START, START + 24 * HOUR, {"blocked": 2, "ok": 498})
    assert message.title == "[prod] digest: nothing stands, 500 credentials"
    assert message.text.startswith("Credentials: 2 blocked, 498 ok.\n2026-11-23T09:00:00Z to 2026-11-24T09:00:00Z")


def test_every_kind_of_finding_is_known() -> None:
    found = {subject for subject, outcomes in source.events().items() if Outcome.FOUND in outcomes}
    assert set(FINDINGS) == found


def test_what_is_told_of_what_happened_is_an_event_that_happens() -> None:
    written = {f"{subject}.{outcome}" for subject, outcomes in source.events().items() for outcome in outcomes}
    assert set(HAPPENINGS) <= written

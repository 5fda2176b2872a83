"""Ninety days of a million credentials, played: when rotations fall due, and how long they wait for whoever does them.

All keys were made on one day, which is the worst start. The project's own `why_due` decides on a virtual clock about
each credential, with and without jitter, at any time and in business hours of three time zones. What a rotation takes,
and how many a second so many replicas do, was measured by the other scripts. Each credential that is played stands for
`--sample` of them, and so does each slot of a limit: with jitter the busiest hour seems some per cent busier for it.
"""

from __future__ import annotations

import argparse
import sys
import time
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from zoneinfo import ZoneInfo

from bench import kept
from bench.measure import Goals, Results, parser
from rotator.domain.hours import Hours, read_span
from rotator.domain.model import Credential, CredentialId, Situation, Version, VersionId, VersionState, creates_of_a_day
from rotator.domain.policy import DAY, Decision, Due, Policy, Question, why_due

HERD, PEAK = "rotations that fall due in the busiest hour", "rotations/s that the busiest hour asks for"
DELAY, HELD = "longest delay beyond due", "rotations that an account's limit holds back"
GOALS: Goals = {HERD: None, PEAK: None, DELAY: None, HELD: None}
TINY = ("--credentials", "200", "--sample", "1", "--days", "31", "--every", "10", "--jitter", "2")

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
TICK = timedelta(seconds=60)
HOUR = timedelta(hours=1)
ZONES = ("America/New_York", "Europe/Berlin", "Asia/Tokyo")
BUSINESS = "MON-FRI 09:00-17:00"
ANY = "any number of replicas"
LIVING = 2  # keys of an IAM user at once


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many rotations a second can be done: by all replicas together, and at one provider account."""

    together: float = inf
    an_account: float = inf


@dataclass(kw_only=True)
class Found:
    """What became of a fleet. Each count is of credentials that were played, not of those they stand for."""

    due: Counter[int] = field(default_factory=Counter)  # hour since the start → rotations that fell due
    begun: int = 0
    waiting: int = 0  # were due at the end, and had not begun
    longest: timedelta = timedelta(0)
    held: int = 0  # had to wait though a replica was free: their account was at its limit
    refused: Counter[str] = field(default_factory=Counter)  # what the policy said when their turn had come


Calendar = defaultdict[int, list[int]]
"""Tick → the credentials that are looked at then."""


class Fleet:
    """Credentials whose keys were all made on the first day, one after the other."""

    def __init__(self, count: int, accounts: int, policies: Sequence[Policy], takes: timedelta) -> None:
        self.sent: list[list[datetime]] = [[START + DAY * number / count] for number in range(count)]
        """When the keys of each were made, the first one before anything is played."""
        self.asked = 0
        self._policies = policies
        self._accounts = accounts
        self._credential = Credential(
            id=CredentialId("bench"), name="bench", provider="bench", managed=True, created_at=START
        )
        self._takes = takes
        self._completed = [made for (made,) in self.sent]
        self._due_at = array("d", bytes(8 * count))  # seconds since the start

    def play(self, days: int, limits: Limits, told: Callable[[], None] = lambda: None) -> Found:
        """To the end of so many days. Each tick begins what is due: each account in turn, who waits longest first."""
        found, ticks = Found(), days * DAY // TICK
        together, an_account = (rate * TICK.total_seconds() for rate in (limits.together, limits.an_account))
        calendar: Calendar = defaultdict(list)
        for number in range(len(self._completed)):
            self._ask_when(number, calendar)
        queues: list[deque[int]] = [deque() for _ in range(self._accounts)]
        counted = [0] * self._accounts  # of the front of each queue: those that are held, and known to be
        room, rooms, turns = 0.0, [0.0] * self._accounts, deque(range(self._accounts))
        for tick in range(ticks):
            now = START + TICK * tick
            for number in calendar.pop(tick, ()):
                queues[number % self._accounts].append(number)
            room = min(room, 1) + together
            rooms = [min(left, 1) + an_account for left in rooms]
            while room >= 1 and (account := next((a for a in turns if queues[a] and rooms[a] >= 1), None)) is not None:
                turns.rotate(-1 - turns.index(account))
                number = queues[account].popleft()
                counted[account] = max(counted[account] - 1, 0)
                if self._begin(number, now, found, calendar):
                    room, rooms[account] = room - 1, rooms[account] - 1
                    told()
            if room >= 1:
                for account, queue in enumerate(queues):
                    found.held += len(queue) - counted[account]
                    counted[account] = len(queue)
        left = [number for queue in queues for number in queue]
        found.waiting = len(left)
        end = START + days * DAY
        found.longest = max([found.longest, *(end - self._was_due(number) for number in left)])
        return found

    def _ask(self, number: int, now: datetime) -> Decision:
        """The policy itself."""
        self.asked += 1
        sent = self.sent[number]
        version = Version(
            id=VersionId("bench"),
            credential_id=self._credential.id,
            number=1,
            state=VersionState.CURRENT,
            account="",
            label="",
            created_at=sent[-1],
            key_id="bench",
            sent_at=sent[-1],
        )
        situation = Situation(
            credential=self._credential,
            versions=(version,),
            rotation=None,
            deliveries=(),
            retirements=(),
            placements=(),
            last_completed_at=self._completed[number],
            creates=creates_of_a_day(sent, now),
        )
        policy = self._policy(number)
        return why_due(Question(name=f"key-{number}", situation=situation, policy=policy, now=now, living=LIVING))

    def _policy(self, number: int) -> Policy:
        return self._policies[number % len(self._policies)]

    def _ask_when(self, number: int, calendar: Calendar) -> None:
        """It has a new key: the calendar keeps when it falls due. Until `min_interval` is over, that is the answer."""
        now = self._completed[number] + self._policy(number).min_interval
        decision = self._ask(number, now)
        until = now if isinstance(decision, Due) else decision.until
        if until is not None:
            self._due_at[number] = (until - START).total_seconds()
            calendar[_tick_of(until)].append(number)

    def _begin(self, number: int, now: datetime, found: Found, calendar: Calendar) -> bool:
        """Its turn has come; whether it may begin is for the policy to say once more: its hours may be over."""
        decision = self._ask(number, now)
        if not isinstance(decision, Due):
            found.refused[decision.reason] += 1
            if decision.until is not None:
                calendar[_tick_of(decision.until)].append(number)
            return False
        due_at = self._was_due(number)
        found.due[(due_at - START) // HOUR] += 1
        found.begun += 1
        found.longest = max(found.longest, now - due_at)
        self.sent[number].append(now)
        self._completed[number] = now + self._takes
        self._ask_when(number, calendar)
        return True

    def _was_due(self, number: int) -> datetime:
        return START + timedelta(seconds=self._due_at[number])


def _tick_of(moment: datetime) -> int:
    """The first one that is not before it."""
    return -((START - moment) // TICK)


class Progress:
    """How far it has come, on stderr. What is left is reckoned by the decisions to come, and what each has cost."""

    def __init__(self, work: float) -> None:
        self.what = ""
        self._work = work
        self._done = 0.0
        self._began = self._shown = time.monotonic()

    def show(self, done: float) -> None:
        """At most once in two seconds; `done` of the run that is on."""
        now = time.monotonic()
        if now < self._shown + 2:
            return
        self._shown = now
        share = min((self._done + done) / self._work, 0.999)
        left = (now - self._began) * (1 - share) / share
        print(f"{share:4.0%}, about {left / 60:.0f} min left: {self.what}", file=sys.stderr, flush=True)

    def ended(self, work: float) -> None:
        """A run is over."""
        self._done += work


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A policy for each time zone, and its name."""

    name: str
    policies: Sequence[Policy]

    def cost(self) -> float:
        """Seconds that a decision takes, nearly: of a rotation that waits for its hours as of one that does not."""
        fleet = Fleet(200, 1, self.policies, timedelta(0))
        began = time.perf_counter()
        fleet.play(1, Limits())
        return (time.perf_counter() - began) / fleet.asked


def scenarios(every: timedelta, jitter: timedelta) -> Iterator[Scenario]:
    """Without and with jitter, at any time and in business hours."""
    for spread in (timedelta(0), jitter):
        name = f"every {every / DAY:g} d, " + (f"jitter {spread / DAY:g} d" if spread else "no jitter")
        plain = Policy(rotate_every=every, jitter=spread)
        yield Scenario(name=f"{name}, at any time", policies=[plain])
        open_in = [Hours((read_span(BUSINESS),), (), ZoneInfo(zone)) for zone in ZONES]
        narrow = [replace(plain, windows=hours.windows, hours=hours) for hours in open_in]
        yield Scenario(name=f"{name}, business hours", policies=narrow)


def in_words(span: timedelta) -> str:
    """Rounded to what matters."""
    return f"{span / DAY:.1f} d" if span > DAY else f"{span / HOUR:.1f} h" if span > HOUR else f"{span / TICK:.0f} min"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play it all; there are no goals to miss."""
    options = parser(__doc__)
    options.add_argument("--credentials", type=int, default=1_000_000)
    options.add_argument("--days", type=int, default=90)
    options.add_argument("--every", type=float, default=30, help="days from one rotation to the next")
    options.add_argument("--jitter", type=float, default=3, help="days; the other half of what is played has none")
    options.add_argument("--accounts", type=int, default=10, help="provider accounts, with as many credentials each")
    options.add_argument("--in-flight", type=int, default=8, help="rotations of an account at once (engine.in_flight)")
    options.add_argument("--calls-per-second", type=float, default=50, help="to an account, from each replica")
    options.add_argument("--sample", type=int, default=25, help="of so many credentials, one is played")
    asked = options.parse_args(arguments)
    try:
        return _main(asked)
    except KeyboardInterrupt:
        print("interrupted: nothing is kept", file=sys.stderr)
        return 130


def _main(asked: argparse.Namespace) -> int:
    results, rates = Results("policy", GOALS, asked.results), kept.rates()
    takes = timedelta(seconds=kept.seconds_of_a_rotation())
    count, days = asked.credentials // asked.sample, asked.days
    plays = list(scenarios(timedelta(days=asked.every), timedelta(days=asked.jitter)))
    decisions = count * (1 + 2 * days / asked.every)
    works = [decisions * scenario.cost() for scenario in plays]
    told = Progress(sum(works) * (len(rates) + 2))

    def play(scenario: Scenario, work: float, what: str, limits: Limits) -> Found:
        told.what = f"{scenario.name}, {what}"
        limits = Limits(together=limits.together / asked.sample, an_account=limits.an_account / asked.sample)
        fleet = Fleet(count, asked.accounts, scenario.policies, takes)
        found = fleet.play(days, limits, lambda: told.show(work * fleet.asked / decisions))
        told.ended(work)
        return found

    for scenario, work in zip(plays, works, strict=True):
        free = play(scenario, work, "no limits", Limits())
        busiest = max(free.due.values(), default=0) * asked.sample
        mean = free.due.total() * asked.sample / (days * 24)
        results.add(HERD, scenario.name, "the mean hour", [busiest / max(mean, 1)], f"{busiest:,} against {mean:,.0f}")
        fastest = max(rates)
        done = ", ".join(f"{rate:.2f} with {_replicas(number)}" for number, rate in rates.items())
        peak = [busiest / 3600 / rates[fastest]]
        results.add(PEAK, scenario.name, _replicas(fastest), peak, f"{busiest / 3600:.2f}/s; measured: {done}")
        for who, limits in paces(asked, rates).items():
            found = play(scenario, work, who, limits)
            waiting, held, shut = (each * asked.sample for each in (found.waiting, found.held, found.refused["window"]))
            detail = (
                f"{in_words(found.longest)}; {waiting:,} wait at the end; hours were over at their turn for {shut:,}"
            )
            results.add(DELAY, f"{scenario.name}, {who}", "a day", [found.longest / DAY], detail)
            if held or who == ANY:
                capped = found.refused["max_creates"] * asked.sample
                detail = (
                    f"{held:,} at {limits.an_account:.2f} rotations/s an account; {capped:,} by max_creates_per_day"
                )
                share = [found.held / max(found.begun, 1)]
                case = f"{scenario.name}, {who}, {asked.accounts} accounts"
                results.add(HELD, case, "all that began", share, detail)
    return results.end()


def paces(asked: argparse.Namespace, rates: Mapping[int, float]) -> Mapping[str, Limits]:
    """Who works → how fast. `in_flight` holds for all replicas together, `calls_per_second` for each of them."""
    at_once = asked.in_flight / kept.seconds_of_a_rotation()
    called = asked.calls_per_second / kept.provider_calls_of_a_rotation()
    measured = {
        _replicas(number): Limits(together=rate, an_account=min(at_once, number * called))
        for number, rate in rates.items()
    }
    return {**measured, ANY: Limits(an_account=at_once)}


def _replicas(number: int) -> str:
    return f"{number} replica{'s' * (number > 1)}"


if __name__ == "__main__":
    sys.exit(main())

"""A year of normal use, made up: `python -m tests.domain.usage_year --keys 200` counts the anomalies that are none.

Kinds of keys: shops (day and night, weekdays more), services (all day long), batches (two hours each night), tools of
offices (weekdays only), weekly reports, and people who try things. All of them grow, keep holidays and a slow summer,
are deployed each week or two (an hour or two of up to three times as much), fail and catch up, follow summer time,
change to another model now and then, and a third of the offices works on a Saturday once.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from rotator.domain.anomalies import Check, KeyLife, Use, judge
from rotator.domain.model import VersionState
from rotator.domain.usage import DAY, HOUR, HOURS_KEPT, Record, Sample, begin

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 365
KINDS = ("shop", "service", "batch", "office", "report", "person")
HOLIDAYS = {(1, 1), (4, 3), (4, 6), (5, 1), (5, 14), (5, 25), (12, 24), (12, 25), (12, 26), (12, 31)}
JUDGED_EACH = 12  # hours: each full hour is judged twice, within the day that it is recent


class Key:
    """One key, its kind and its fate."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        self.size = math.exp(self.chance.uniform(math.log(30), math.log(20_000)))
        self.growth = self.chance.uniform(1, 4)
        self.zone = self.chance.choice((-8, -5, 0, 1, 1, 9))
        self.price = self.chance.uniform(200, 20_000)  # millionths a request
        self.model_changes = START + timedelta(days=self.chance.uniform(40, 700))
        self.saturday = self._saturday() if self.kind == "office" and self.chance.random() < 1 / 3 else None
        self.bursts = dict(self._bursts())
        self.failures = dict(self._failures())

    def _saturday(self) -> datetime:
        day = START + timedelta(days=self.chance.randrange(40, 360))
        return day + timedelta(days=(5 - day.weekday()) % 7)

    def _bursts(self) -> Iterator[tuple[datetime, float]]:
        at = START
        while at < START + timedelta(days=DAYS):
            at += timedelta(days=self.chance.choice((7, 14)))
            day = at + timedelta(days=(self.chance.randrange(5) - at.weekday()))
            hour, factor = self.chance.randrange(9, 18), self.chance.uniform(1.3, 3)
            for more in range(self.chance.randint(1, 2)):
                yield day + timedelta(hours=hour + more - self.zone), factor

    def _failures(self) -> Iterator[tuple[datetime, float]]:
        for _ in range(3):
            at = START + timedelta(hours=self.chance.randrange(DAYS * 24))
            length = self.chance.randint(1, 4)
            for more in range(length):
                yield at + timedelta(hours=more), 0
            yield at + timedelta(hours=length), 2

    def requests(self, at: datetime) -> int:
        """In the hour that begins then."""
        summer = 1 if (3, 29) <= (at.month, at.day) < (10, 25) and self.zone in (0, 1) else 0
        local = at + timedelta(hours=self.zone + summer)
        expected = self.size * self._shape(local) * self.growth ** ((at - START).days / DAYS)
        if local.month == 8 and 3 <= local.day <= 21:
            expected *= 0.6
        expected *= self.bursts.get(at, 1) * self.failures.get(at, 1)
        if not expected:
            return 0
        noisy = expected * math.exp(self.chance.gauss(0, 0.25))
        return max(round(self.chance.gauss(noisy, math.sqrt(noisy))), 0)

    def _shape(self, local: datetime) -> float:
        hour, day = local.hour, local.weekday()
        off = day >= 5 or (local.month, local.day) in HOLIDAYS
        wave = math.exp(-(((hour - 14) / 4) ** 2))
        match self.kind:
            case "shop":
                return (0.05 + wave) * (0.6 if off else 1)
            case "service":
                return 0.7 + 0.3 * wave
            case "batch":
                return 1.0 if hour in (2, 3) else 0
            case "office":
                worked = 9 <= hour < 18 and (
                    not off or (self.saturday is not None and local.date() == self.saturday.date())
                )
                return wave if worked else 0
            case "report":
                return 1.0 if day == 0 and hour in (6, 7) else 0
            case _:
                works = not off and 8 <= hour < 20 and self.chance.random() < 0.25
                return self.chance.random() * 0.2 if works else 0

    def model(self, at: datetime) -> str:
        """Which one it uses."""
        return "second" if at >= self.model_changes else "first"

    def costs(self, requests: int) -> int:
        """Of a day."""
        return round(requests * self.price * math.exp(self.chance.gauss(0, 0.1)))


def false_alarms(seed: int) -> Counter[Check]:
    """The anomalies that are found in one key's year of normal use."""
    key, found, standing = Key(seed), Counter[Check](), set[tuple[Check, str]]()
    record, today = Record(), 0
    life = KeyLife(key_id="key", number=1, state=VersionState.CURRENT, made_at=START)
    for number in range(DAYS * 24):
        at = START + HOUR * number
        count = key.requests(at)
        today += count
        if count:
            record.add(Sample(key_id="key", at=at, width=HOUR, model=key.model(at), requests=count))
        now = at + HOUR
        if now == begin(now, DAY):
            record.add(Sample(key_id="key", at=begin(at, DAY), width=DAY, cost=key.costs(today), currency="usd"))
            today = 0
            kept = now - HOURS_KEPT
            record.hours = {h: n for h, n in record.hours.items() if h >= kept}
            record.uses = [u for u in record.uses if u >= kept]
        if now.hour % JUDGED_EACH == 0:
            holds = {(a.check, a.about) for a in judge(Use(now=now, since=START, keys=[life], record=record))}
            found.update(check for check, _ in holds - standing)
            standing = holds
    return found


def main() -> None:
    """Print how many there were, of each check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=200)
    keys = parser.parse_args().keys
    found, most = Counter[Check](), 0
    for seed in range(keys):
        one = false_alarms(seed)
        found += one
        most = max(most, one.total())
    print(f"{keys} keys, one year: {found.total()} false alarms, {found.total() / keys:.3f} per key and year")
    print(f"the worst key had {most}; of each check: {dict(found)}")


if __name__ == "__main__":
    main()

"""What the times of a policy have to do with each other and with the provider. What cannot be is told, all at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rotator.config.cron import CronSchedule, gaps
from rotator.config.merging import Merged
from rotator.config.part import Part
from rotator.domain.deadlines import HOUR, Terms, room
from rotator.domain.policy import DAY
from rotator.ports.provider import Capabilities
from rotator.settings import format_duration

NONE = timedelta(0)


@dataclass(frozen=True)
class Times:
    """How the times of a policy go together: the schedule, `max_age`, and what the provider does by itself."""

    merged: Merged
    schedule: CronSchedule | None
    capabilities: Capabilities | None
    waves: int = 1

    @property
    def period(self) -> timedelta | None:
        """The shortest time between two rotations that are due; None where nothing makes them due."""
        regular = gaps(self.schedule)[0] if self.schedule else self.merged.values["rotate_every"]
        limits = [limit - self._before(limit) for _, limit in self._limits()]
        times = [time for time in (regular, *limits) if time is not None and time > NONE]
        return min(times, default=None)

    def check(self, part: Part) -> None:
        """Report what cannot be: a key that would outlive its time, slots that are not free, idle time after grace."""
        self._idle_within_grace()
        self._intervals()
        for key, limit in self._limits():
            if not self._replaced_within(part, key, limit) or key is None:
                continue
            self._period_within(limit)
            self._creates_within(limit - self._before(limit))
        if self.capabilities is not None:
            self._fits_provider(part, self.capabilities)

    def _limits(self) -> list[tuple[str | None, timedelta]]:
        """What ends a key's time: the policy key that says so, or None for the provider."""
        max_age = self.merged.values["max_age"]
        limits: list[tuple[str | None, timedelta]] = [] if max_age is None else [("max_age", max_age)]
        if self.capabilities is not None and self.capabilities.life is not None:
            limits.append((None, self.capabilities.life))
        return limits

    def _before(self, limit: timedelta) -> timedelta:
        """How long before a key's time is up its replacement is due."""
        lead: timedelta = self._terms().lead(limit) + self.merged.values["jitter"]
        return lead

    def _terms(self) -> Terms:
        values, capabilities = self.merged.values, self.capabilities
        settle = values["settle"]
        if settle is None:
            settle = capabilities.settle if capabilities is not None else NONE
        can_disable = capabilities is None or capabilities.can_disable
        return Terms(
            grace=values["grace"],
            soak=values["soak"],
            settle=settle,
            waves=values["wave_soak"] * (self.waves - 1),
            can_disable=can_disable,
        )

    def _replaced_within(self, part: Part, key: str | None, limit: timedelta) -> bool:
        """No key may have to be replaced before it may be."""
        # One that somebody has written is compared with the period, where it stands.
        least = NONE if "min_interval" in self.merged.layers else self.merged.values["min_interval"]
        needed = self._before(limit) + least
        if needed < limit:
            return True
        spelt = self._spelt(limit) + (f" + min_interval {format_duration(least)}" if least else "")
        message = (
            f"{spelt} = {format_duration(needed)} must be shorter than "
            f"{'max_age' if key else 'what the provider lets a key live'}, {format_duration(limit)}: "
            "no key could be replaced in time"
        )
        if key is None:
            part.report(message)
        else:
            self.merged.report(key, message)
        return False

    def _spelt(self, limit: timedelta) -> str:
        terms = self._terms()
        spans = {"grace": terms.grace, "soak": terms.overlap - terms.grace, "settle": terms.settle}
        spans |= {"soaks of waves": terms.waves}
        spans |= {"jitter": self.merged.values["jitter"], "time for retries": room(limit)}
        return " + ".join(f"{name} {format_duration(span)}" for name, span in spans.items() if span) + self._because()

    def _because(self) -> str:
        """A grace that nobody has written is explained."""
        return f" (grace as the readers of {self.merged.lag.place} need it)" if self.merged.lag is not None else ""

    def _period_within(self, limit: timedelta) -> None:
        """The longest time between two slots, and all that follows, must fit into `max_age`."""
        longest = gaps(self.schedule)[1] if self.schedule else self.merged.values["rotate_every"]
        before = self._before(limit)
        if longest is None or longest + before <= limit:
            return
        key = "cron" if self.schedule else "rotate_every"
        message = (
            f"the time between two rotations, {format_duration(longest)}, + {self._spelt(limit)} = "
            f"{format_duration(longest + before)} must not be longer than max_age, {format_duration(limit)}"
        )
        self.merged.report(key, message, f"rotate at least every {format_duration(limit - before)}")

    def _creates_within(self, period: timedelta) -> None:
        """`max_age` may need more keys in a day than may be made."""
        most = self.merged.values["max_creates_per_day"]
        if period * most < DAY:
            message = f"needs a key every {format_duration(period)}, and max_creates_per_day is {most}"
            self.merged.report("max_age", message)

    def _idle_within_grace(self) -> None:
        merged = self.merged
        grace, idle = merged.values["grace"], merged.values["require_idle"]
        if idle <= grace:
            return
        source = merged.source("require_idle")
        if source == "built-in" or (source == "defaults" and merged.source("grace") == "credential"):
            merged.values["require_idle"] = grace
        else:
            merged.report("require_idle", f"must not be longer than grace, {format_duration(grace)}")

    def _intervals(self) -> None:
        merged, period = self.merged, self.period
        if merged.values["min_interval"] is None:
            merged.values["min_interval"] = max(HOUR, (period or HOUR) / 20)
        elif period and merged.values["min_interval"] > period:
            message = f"must not be longer than the time between two rotations, {format_duration(period)}"
            merged.report("min_interval", message)
        if period and merged.values["jitter"] >= period:
            message = f"must be shorter than the time between two rotations, {format_duration(period)}"
            merged.report("jitter", message)

    def _fits_provider(self, part: Part, capabilities: Capabilities) -> None:
        merged, period = self.merged, self.period
        if capabilities.living == 1 and not merged.values["allow_downtime"]:
            message = "the provider holds one key, so the old one dies before consumers have the new one"
            part.report(message, "write `allow_downtime: true` if that is meant")
        if capabilities.living != 2 or period is None:  # noqa: PLR2004 - two slots
            return
        grace, soak, terms = merged.values["grace"], merged.values["soak"], self._terms()
        needed = grace + soak + terms.settle + terms.waves + HOUR
        if needed >= period:
            named = {"grace": grace, "soak": soak, "settle": terms.settle}
            if terms.waves:
                named["soaks of waves"] = terms.waves
            spans = " + ".join(f"{name} {format_duration(span)}" for name, span in named.items()) + " + 1h"
            spans += self._because()
            message = (
                f"{spans} = {format_duration(needed)} must be shorter than the time between two rotations, "
                f"{format_duration(period)}: the provider holds two keys"
            )
            part.report(message)

"""Whether an installation can work: what `/readyz` and `rotator health` say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rotator.domain.errors import RotatorError
from rotator.settings import format_duration
from rotator.store import schema
from rotator.wiring import Service


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that has to hold. `reason`, `message` and `remedy` say more where it does not."""

    name: str
    ok: bool
    reason: str | None = None
    message: str | None = None
    remedy: str | None = None

    def as_json(self) -> Mapping[str, Any]:
        """The shape of `checks` in `rotator health --json` and `/readyz`."""
        return dict(vars(self))


def failed(name: str, problem: RotatorError) -> Check:
    """A check that met this."""
    return Check(name=name, ok=False, reason=problem.reason, message=problem.message, remedy=problem.remedy)


def checks(service: Service, *, unlocked: bool, pass_within: timedelta | None = None) -> list[Check]:
    """What has to hold for a worker (`unlocked`), or for who only reads the database. Asks nobody outside."""
    store = service.store
    found = [_held("database", store.installation)]
    if found[0].ok:
        found.append(_held("migrations", lambda: schema.check(store.database)))
    if found[-1].ok and unlocked:
        found.append(_held("sealing_key", lambda: store.fingerprint))
    if found[0].ok and pass_within is not None:
        found.append(_held("last_pass", lambda: _passed(service, pass_within)))
    return found


def _passed(service: Service, within: timedelta) -> None:
    last, now = service.store.installation().last_pass_at, service.store.now()
    if last is None or now - last > within:
        when = "none ever did" if last is None else f"the last one ended at {last:%Y-%m-%d %H:%M:%S} UTC"
        message = f"no pass has ended for {format_duration(within)}: {when}"
        raise RotatorError(message, reason="no_passes", remedy="see why the daemon or the CronJob does not run")


def _held(name: str, do: Callable[[], object]) -> Check:
    try:
        do()
    except RotatorError as problem:
        return failed(name, problem)
    return Check(name=name, ok=True)

"""The oracle is not blind: with any one guard of the protocol taken out, it says so, and says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rotator.engine import creation, places, retirement, rotation
from rotator.engine.work import Work
from rotator.ports.provider import Issues
from rotator.ports.store import Insert, Update
from tests.simulation.memory import MemoryStore
from tests.simulation.oracle import ViolationError
from tests.simulation.simulate import FoundError, simulate

Patch = Callable[[pytest.MonkeyPatch], None]


def nothing(*_given: Any, **_named: Any) -> None:
    """A guard that is not there."""


def without(owner: Any, name: str, instead: Any = nothing) -> Patch:
    return lambda patch: patch.setattr(owner, name, instead)


def issue_without_intent(work: Work, provider: Issues) -> None:
    version = creation._new_version(work)
    issued = work.call(provider.create, version.label)
    changes = {"key_id": issued.key_id}
    work.record([Insert(version), Update(version, changes), Update(work.rotation(), {"target_id": version.id})], [])


def write_on_a_later_revision(patch: pytest.MonkeyPatch) -> None:
    call = Work.call

    def later(self: Work, do: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(do, "__name__", "") == "write":
            args = (args[0], do.__self__._read().revision, args[2])
        return call(self, do, *args, **kwargs)

    patch.setattr(Work, "call", later)


def believe_acknowledgements(patch: pytest.MonkeyPatch) -> None:
    """What was pushed counts as read."""
    look = places.look

    def blind(work: Work, destination: Any, templates: Any, wanted: Any = None) -> places.Look:
        seen = look(work, destination, templates)
        if wanted is None:
            return seen
        return places.Look(seen.reading, places.Standing.WANTED, frozenset({wanted.id}))

    def verify_one(work: Work, given: Any, delivery: Any, version: Any, material: Any) -> None:
        patch.setattr(rotation, "look", blind)
        try:
            real(work, given, delivery, version, material)
        finally:
            patch.setattr(rotation, "look", look)

    real = rotation.verify_one
    patch.setattr(rotation, "verify_one", verify_one)


def any_lease_will_do(self: MemoryStore, lease: Any) -> Any:
    return self.now()


GUARDS: Mapping[str, tuple[Patch, str, set[str]]] = {
    "intent": (without(creation, "_issue", issue_without_intent), "crashes", {"I5"}),
    "fence": (without(MemoryStore, "_hold", any_lease_will_do), "stale", {"I7"}),
    "trust in the lease": (without(Work, "_keep_lease"), "stale", {"I7"}),
    "recorded revision": (write_on_a_later_revision, "people", {"I8"}),
    "read-back": (believe_acknowledgements, "everything", {"I9"}),
    "foreign values": (without(rotation, "refuse_foreign"), "people", {"I8"}),
    "re-read before retirement": (without(retirement, "_served_elsewhere"), "people", {"I1"}),
    "another key works": (without(retirement, "_another_key_works"), "crashes", {"I2"}),
    "removed places": (without(retirement, "_no_place_was_removed"), "people", {"I1"}),
    "pinned account": (without(retirement, "right_account"), "people", {"I3"}),
    "clock": (without(retirement, "_clock_is_sane"), "clocks", {"I17"}),
    "create limits": (without(creation, "_keep_create_limits"), "crashes", {"I12"}),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_the_oracle_sees_that_a_guard_is_missing(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out, profile, invariants = GUARDS[guard]
    take_out(monkeypatch)
    with pytest.raises(FoundError) as found:
        simulate(1, 3000, profile=profile)
    assert isinstance(found.value.problem, ViolationError)
    assert found.value.problem.invariant in invariants, found.value

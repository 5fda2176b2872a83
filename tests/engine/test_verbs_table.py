"""Every verb in every state of a rotation and of a retirement: what it does, or why it refuses.

A state is built once on real servers. Verbs write rows only, so each is tried on a copy of the database.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from rotator.domain.errors import RotatorError
from rotator.engine import operator, reactivation
from rotator.engine.rollback import rollback
from rotator.engine.work import Work
from rotator.testbed.gate import Refuse
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Place
from tests.engine.test_going_back import held, rotated_twice, soaking, unavailable
from tests.engine.test_guards import Crash, On, Patched
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_pausing import pause, unpause
from tests.engine.test_rehearsal import rehearse
from tests.engine.test_rotation import is_write

VERBS: Mapping[str, Callable[[Work, str], object]] = {
    "rollback": lambda work, _: rollback(work),
    "reactivate": lambda work, _: reactivation.reactivate(work),
    "retire": lambda work, key: reactivation.retire(work, key=key),
    "abandon": lambda work, _: operator.abandon(work),
    "resume": lambda work, _: operator.resume(work),
    "compromised": lambda work, _: operator.compromised(work, None, None),
}

# What `retire` is given is the previous key; where there is none, the newest one.
# fmt: off
TABLE = {
    # a rotation               rollback       reactivate     retire           abandon          compromised
    "never":                  ("no_previous", "no_previous", "unknown_key",   "nothing_to_do", "done"),
    "current":                ("no_previous", "no_previous", "current_key",   "nothing_to_do", "done"),
    "planned":                ("no_previous", "no_previous", "current_key",   "done",          "done"),
    "created":                ("no_previous", "no_previous", "never_current", "done",          "done"),
    "authenticated":          ("no_previous", "no_previous", "never_current", "done",          "done"),
    "pushed to one of two":   ("no_previous", "no_previous", "never_current", "done",          "done"),
    "pushed":                 ("no_previous", "no_previous", "never_current", "done",          "done"),
    "verified":               ("no_previous", "no_previous", "never_current", "done",          "done"),
    "being rehearsed":        ("no_previous", "no_previous", "never_current", "done",          "done"),
    "being put back":         ("no_previous", "no_previous", "never_current", "done",          "done"),
    "being rolled back":      ("nothing",     "nothing",     "rotating",      "done",          "done"),
    # a retirement
    "in its grace":           ("done",        "done",        "nothing",       "nothing_to_do", "done"),
    "in its grace, rotating": ("rotating",    "done",        "nothing",       "done",          "done"),
    "drained":                ("done",        "done",        "nothing",       "nothing_to_do", "done"),
    "disabled":               ("done",        "done",        "nothing",       "nothing_to_do", "done"),
    "in its brownout":        ("done",        "done",        "nothing",       "nothing_to_do", "done"),
    "being deleted":          ("too_late",    "too_late",    "nothing",       "nothing_to_do", "done"),
    "on its way back":        ("done",        "nothing",     "done",          "nothing_to_do", "done"),
    "kept":                   ("done",        "nothing",     "done",          "nothing_to_do", "done"),
    "leaked":                 ("compromised", "compromised", "nothing",       "nothing_to_do", "done"),
    "paused":                 ("paused",      "paused",      "nothing",       "nothing_to_do", "done"),
}
# fmt: on
ON_IAM = ("in its brownout", "disabled", "on its way back")


@pytest.mark.parametrize("state", TABLE)
def test_what_each_verb_does_in_this_state(state: str, request: pytest.FixtureRequest) -> None:
    if state in ON_IAM:
        iam: Deployer = request.getfixturevalue("deployer")
        place, name, key = iam.place, "deployer", disabled(iam, state)
    else:
        web: OpenAIWeb = request.getfixturevalue("web_embedded")
        place, name, key = web.place, "web", BUILD.get(state, stopped)(web, state)
    outcomes = {verb: tried(place, name, verb, key) for verb in VERBS}
    assert outcomes.pop("resume") == "done"
    assert tuple(outcomes.values()) == TABLE[state]


def tried(place: Place, name: str, verb: str, key: str) -> str:
    """What a verb does, on a copy; a refusal and a second time change nothing."""
    before = rows(place, name)
    kept = place.folder / "kept.db"
    shutil.copy(place.folder / "rotator.db", kept)
    outcome = once(place, name, verb, key)
    if outcome != "done":
        assert rows(place, name) == before, "nothing was changed"
    elif verb in ("rollback", "reactivate", "retire"):
        after = rows(place, name)
        assert once(place, name, verb, key) == "nothing", "it may be repeated"
        assert rows(place, name) == after
    shutil.copy(kept, place.folder / "rotator.db")
    assert rows(place, name) == before
    return outcome


def once(place: Place, name: str, verb: str, key: str) -> str:
    told = len(place.events)
    with held(place, name) as work:
        try:
            VERBS[verb](work, key)
        except RotatorError as refusal:
            return refusal.reason
    return "done" if len(place.events) > told else "nothing"


def rows(place: Place, name: str) -> Any:
    with held(place, name) as work:
        return work.situation


# states


def never(_web: OpenAIWeb, _state: str) -> str:
    return "key_of_nobody"


def current(web: OpenAIWeb, _state: str) -> str:
    web.place.rotate()
    return web.live()[-1]


STOPS = {
    "planned": ("rotation.started", 1),
    "created": ("create.succeeded", 1),
    "authenticated": ("authenticate.succeeded", 1),
    "pushed": ("push.succeeded", 3),  # of each place, and of the step
    "verified": ("verify.succeeded", 3),
}


def stopped(web: OpenAIWeb, state: str) -> str:
    """The process dies at an event of the second rotation."""
    event, number = STOPS[state]
    current(web, state)
    dies(web, event, number, now=True)
    return web.live()[-1]


def dies(web: OpenAIWeb, event: str, number: int = 1, *, now: bool = False) -> None:
    def die() -> None:
        raise Crash

    events = web.place.events
    web.place.events = On(event, die, number=number)
    with suppress(Crash):
        web.place.rotate("web", now=now)
    assert web.place.told()[-1] == event
    web.place.events = events


def rehearsed(web: OpenAIWeb, state: str) -> str:
    current(web, state)
    web.place.events = On("push.succeeded", lambda: pause(web.place), number=3)
    rehearse(web.place, patience=0.5)
    unpause(web.place)
    return web.live()[-1]


def half_pushed(web: OpenAIWeb, state: str) -> str:
    current(web, state)
    stuck(web)
    return web.live()[-1]


def stuck(web: OpenAIWeb) -> None:
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=0.5)
    assert web.place.status("web")["rotation"]["state"] == "authenticated"


def put_back(web: OpenAIWeb, state: str) -> str:
    key = half_pushed(web, state)
    with held(web.place) as work:
        operator.abandon(work)
    return key


def in_grace(web: OpenAIWeb, state: str) -> str:
    old, _ = rotated_twice(web)
    if state == "in its grace, rotating":
        stuck(web)
    with held(web.place) as work:
        if state == "being rolled back":
            rollback(work)
        elif state == "kept":
            reactivation.reactivate(work)
        elif state == "leaked":
            operator.compromised(work, old, None)
    if state == "kept":
        web.place.rotate()
    elif state == "paused":
        pause(web.place)
    return old


def drained(web: OpenAIWeb, _state: str) -> str:
    old, _ = rotated_twice(web, grace="0s", soak="2s")
    dies(web, "drain.succeeded")
    return old


def deleting(web: OpenAIWeb, _state: str) -> str:
    old, _ = rotated_twice(web, grace="1s", soak="0s")
    web.place.rotate(patience=2, seam=Patched("provider", delete=lambda _: unavailable))
    assert "delete.started" in web.place.told()
    return old


def disabled(iam: Deployer, state: str) -> str:
    if state == "in its brownout":
        return browned_out(iam)
    old, _ = soaking(iam)
    if state == "on its way back":
        with held(iam.place, "deployer") as work:
            reactivation.reactivate(work)
    return old


def browned_out(iam: Deployer) -> str:
    iam.write(grace="1h", brownout={"after": "10ms", "for": "30m", "hours": ["MON-SUN"]})
    iam.place.rotate(patience=10)
    (old,) = iam.listed()
    iam.place.rotate("deployer", now=True, patience=10)
    iam.place.rotate(patience=0.1)
    assert iam.listed()[old] == "Inactive"
    return old


BUILD: Mapping[str, Callable[[OpenAIWeb, str], str]] = {
    "never": never,
    "current": current,
    "pushed to one of two": half_pushed,
    "being rehearsed": rehearsed,
    "being put back": put_back,
    "drained": drained,
    "being deleted": deleting,
    "in its grace": in_grace,
    "in its grace, rotating": in_grace,
    "being rolled back": in_grace,
    "kept": in_grace,
    "leaked": in_grace,
    "paused": in_grace,
}

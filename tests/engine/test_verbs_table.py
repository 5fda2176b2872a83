"""Every verb in every state of a rotation and of a retirement: what it does, or why it refuses.

A state is built once on real servers. Verbs write rows only, so each is tried on a copy of the database: first as a
dry run, which must foresee the very same and touch nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from rotator.domain.errors import RotatorError
from rotator.domain.secret import Material, Secret
from rotator.engine import adoption, operator, pausing, reactivation, verbs
from rotator.engine.dry import READS, DryStore
from rotator.engine.revocation import revoke
from rotator.engine.rollback import rollback
from rotator.engine.supply import supply
from rotator.engine.work import Work
from rotator.ports.provider import Key
from rotator.ports.store import Store
from rotator.testbed.gate import Refuse
from rotator.wiring import Seam, Service
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Place
from tests.engine.test_going_back import held, rotated_twice, soaking, unavailable
from tests.engine.test_guards import Crash, On, Patched
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_pausing import pause, unpause
from tests.engine.test_rehearsal import rehearse
from tests.engine.test_rotation import is_write

T = TypeVar("T")

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
    rehearse(web.place, patience=6)
    unpause(web.place)
    return web.live()[-1]


def half_pushed(web: OpenAIWeb, state: str) -> str:
    current(web, state)
    stuck(web)
    return web.live()[-1]


def stuck(web: OpenAIWeb) -> None:
    web.vault_gate.on(is_write, Refuse(), times=None)
    web.place.rotate("web", now=True, patience=6)
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
    iam.place.rotate(patience=6)
    assert iam.listed()[old] == "Inactive"
    return old


def revoked(web: OpenAIWeb, state: str) -> str:
    key = in_grace(web, state) if state == "forced" else current(web, state)
    with held(web.place) as work:
        if state == "forced":
            reactivation.retire(work, key=key, force=True)
        else:
            revoke(work)
    return key


def changed(web: OpenAIWeb, state: str) -> str:
    """Somebody wrote to the second place."""
    key = current(web, state)
    value = "sk-somebody-else"
    if state == "changed to a living key":
        value = web.emulator.make_key().secret
    web.put(value, 1)
    return key


BUILD: Mapping[str, Callable[[OpenAIWeb, str], str]] = {
    "never": never,
    "current": current,
    **dict.fromkeys(STOPS, stopped),
    "pushed to one of two": half_pushed,
    "being rehearsed": rehearsed,
    "being put back": put_back,
    "revoked": revoked,
    "changed by hand": changed,
    "changed to a living key": changed,
    "in its grace": in_grace,
    "in its grace, rotating": in_grace,
    "being rolled back": in_grace,
    "drained": drained,
    "forced": revoked,
    "being deleted": deleting,
    "kept": in_grace,
    "leaked": in_grace,
    "paused": in_grace,
}
ON_IAM = ("disabled", "on its way back")
BY_HAND = "waits for a person"
STATES = (*BUILD, *ON_IAM, BY_HAND)


def built(state: str, request: pytest.FixtureRequest) -> tuple[Place, str, str]:
    """The place, the credential's name and the key that a person may mean."""
    if state in ON_IAM:
        iam: Deployer = request.getfixturevalue("deployer")
        return iam.place, "deployer", disabled(iam, state)
    if state == BY_HAND:
        place: Place = request.getfixturevalue("embedded")
        return place, "partner", awaited(place)
    web: OpenAIWeb = request.getfixturevalue("web_embedded")
    return web.place, "web", BUILD[state](web, state)


def awaited(place: Place) -> str:
    place.write(
        providers={"hand": {"type": "manual"}},
        destinations={"app": {"type": "env-file", "path": "app.env"}},
        credentials={
            "partner": {
                "provider": "hand",
                "options": {"instructions": "ask the partner's desk"},
                "destinations": [{"to": "app", "fields": {"PARTNER": "{secret}"}}],
            }
        },
    )
    (place.folder / "app.env").write_text("PARTNER=a-value-of-the-partner-0123456789\n")
    with held(place, "partner") as work:
        key = adoption.adopt(work).current
    place.rotate("partner", now=True, patience=0)
    assert key is not None
    return str(key.key_id)


# verbs

SUPPLIED = "a-value-that-a-person-made-0123456789"

VERBS: Mapping[str, Callable[[Work, str], object]] = {
    "rollback": lambda work, _: verbs.do(work, "rollback", {}, None),
    "reactivate": lambda work, _: verbs.do(work, "reactivate", {}, None),
    "retire": lambda work, key: verbs.do(work, "retire", {"key": key}, None),
    "retire --force": lambda work, key: verbs.do(work, "retire", {"key": key, "force": True}, None),
    "abandon": lambda work, _: verbs.do(work, "abandon", {}, None),
    "resume": lambda work, _: verbs.do(work, "resume", {}, None),
    "revoke": lambda work, _: verbs.do(work, "revoke", {}, None),
    "revoke --key": lambda work, key: verbs.do(work, "revoke", {"key": key}, None),
    "rotate --now": lambda work, _: verbs.do(work, "rotate", {}, None),
    "rotate --compromised": lambda work, _: verbs.do(work, "rotate", {"cause": "compromised"}, None),
    "forget": lambda work, _: verbs.do(work, "forget", {"destination": "elsewhere"}, None),
    "drift accept": lambda work, _: verbs.do(work, "accept", {"destination": second(work)}, None),
    "drift overwrite": lambda work, _: verbs.do(work, "overwrite", {"destination": second(work)}, None),
    "drift ignore": lambda work, _: verbs.do(work, "ignore", {"destination": second(work)}, None),
    "adopt": lambda work, _: verbs.do(work, "adopt", {}, None),
    "adopt --as previous": lambda work, key: verbs.do(work, "adopt_extra", {"key": key}, None),
    "supply": lambda work, _: supply(work, made_by_hand(work)),
    "pause": lambda work, _: pausing.pause(work.store, work.credential, actor="ann", why="w", lasts=None),
    "unpause": lambda work, _: pausing.unpause(work.store, work.credential, actor="ann", because=None),
}
REPEATED = ("rollback", "reactivate", "retire", "retire --force", "pause", "unpause")
"""What changes nothing the second time."""


def made_by_hand(work: Work) -> Material:
    return Material(dict.fromkeys(work.provider.capabilities.material, Secret(SUPPLIED)))


def second(work: Work) -> str:
    return work.managed.targets[-1].to


# What a verb does in nearly every state. What `retire` is given is the previous key; where there is none, the newest.
MOSTLY = {
    "rollback": "no_previous",
    "reactivate": "no_previous",
    "retire": "nothing",
    "retire --force": "done",
    "abandon": "nothing_to_do",
    "resume": "done",
    "revoke": "done",
    "revoke --key": "done",
    "rotate --now": "done",
    "rotate --compromised": "done",
    "forget": "unknown_destination",
    "drift accept": "nothing",
    "drift overwrite": "nothing",
    "drift ignore": "nothing",
    "adopt": "already_adopted",
    "adopt --as previous": "known_key",
    "supply": "nothing_to_do",
    "pause": "done",
    "unpause": "nothing",
}
ROTATING = {"abandon": "done", "rotate --now": "nothing", "adopt": "rotating"}
NOT_IN_USE = {"retire": "never_current", "retire --force": "never_current"}
IN_USE = {"retire": "current_key", "retire --force": "current_key"}
BACK = {"rollback": "done", "reactivate": "done"}
FULL = {
    "rotate --now": "slot_in_retirement",
    "rotate --compromised": "slot_in_retirement",
}  # ends the soak first

# Where it is another one. `nothing`: it changes nothing and says so; `rotate --now` joins what is open.
TABLE: Mapping[str, Mapping[str, str]] = {
    "never": {
        "retire": "unknown_key",
        "retire --force": "unknown_key",
        "revoke": "unknown_key",
        "revoke --key": "unknown_key",
        "drift overwrite": "not_adopted",
        "adopt": "nothing_to_adopt",
        "adopt --as previous": "not_adopted",
    },
    "current": IN_USE,
    "planned": {**ROTATING, **IN_USE},
    "created": {**ROTATING, **NOT_IN_USE},
    "authenticated": {**ROTATING, **NOT_IN_USE},
    "pushed": {**ROTATING, **NOT_IN_USE},
    "verified": {**ROTATING, **NOT_IN_USE},
    "pushed to one of two": {**ROTATING, **NOT_IN_USE},
    "being rehearsed": {"abandon": "done", "adopt": "rotating", **NOT_IN_USE},  # it makes way for `rotate --now`
    "being put back": {**ROTATING, **NOT_IN_USE, "rotate --now": "rotating", "rotate --compromised": "rotating"},
    "revoked": IN_USE,
    "changed by hand": {**IN_USE, "drift accept": "dead_value", "drift overwrite": "done", "drift ignore": "done"},
    "changed to a living key": {**IN_USE, "drift accept": "done", "drift overwrite": "done", "drift ignore": "done"},
    "in its grace": BACK,
    "in its grace, rotating": {**ROTATING, "rollback": "rotating", "reactivate": "done"},
    "being rolled back": {
        **ROTATING,
        "rollback": "nothing",
        "reactivate": "nothing",
        "retire": "rotating",
        "retire --force": "rotating",
        "rotate --now": "rotating",
    },
    "drained": BACK,
    "forced": {**BACK, "retire --force": "nothing"},
    "disabled": {**BACK, **FULL, "retire --force": "nothing"},
    "being deleted": {"rollback": "too_late", "reactivate": "too_late"},
    "on its way back": {**FULL, "rollback": "done", "reactivate": "nothing", "retire": "done"},
    "kept": {"rollback": "done", "reactivate": "nothing", "retire": "done"},
    "leaked": {"rollback": "compromised", "reactivate": "compromised"},
    "paused": {"rollback": "paused", "reactivate": "paused", "rotate --now": "paused", "unpause": "done"},
    "waits for a person": {**ROTATING, **IN_USE, "supply": "done"},
}


def test_the_table_knows_every_verb_that_can_be_asked_for() -> None:
    tried = {verb.split()[0] for verb in VERBS} | {verb.removeprefix("drift ") for verb in VERBS}
    assert set(verbs.VERBS) - {"adopt_extra"} <= tried, "`adopt --as previous` is the other one"
    assert set(TABLE) == set(STATES)


def test_every_method_of_a_store_is_known_to_a_dry_run() -> None:
    methods = {name for name, member in vars(Store).items() if callable(member) and not name.startswith("_")}
    of_passes = {"enroll", "move", "settle_in", "stir", "due", "claim", "release", "credential", "pass_ended"}
    of_what_is_sent = {"followers", "note_follower", "forget_follower", "notices", "keep_notices", "last_checkpoint"}
    counting = {"fleet", "drilled", "count", "counts", "react"}
    of_use = {"sampling", "samples", "keep_samples"}
    apart = of_passes | of_what_is_sent | counting | of_use | {"ask", "sight"}
    assert methods - READS - {*vars(DryStore)} == apart, "these no verb calls; where one did, a dry run would refuse"


@pytest.mark.parametrize("state", STATES)
def test_what_each_verb_does_in_this_state(state: str, request: pytest.FixtureRequest) -> None:
    place, name, key = built(state, request)
    seam = Harmless()
    with place.service(seam) as service:
        outcomes = {verb: Try(place, name, service, seam).of(verb, key) for verb in VERBS}
    assert {verb: found for verb, found in outcomes.items() if found != MOSTLY[verb]} == TABLE[state]


class Harmless(Seam):
    """Keys are ended in appearance only, so that the next verb finds the provider as it was."""

    def __init__(self) -> None:
        self.ended: set[str] = set()

    def wrap(self, port: T, kind: str) -> T:
        if kind != "provider":
            return port
        keys = port.keys  # type: ignore[attr-defined]

        def end(key_id: str) -> None:
            self.ended.add(key_id)

        @functools.wraps(keys)
        def left() -> list[Key]:
            return [key for key in keys() if key.id not in self.ended]

        for method, replacement in (("disable", end), ("delete", end), ("keys", left)):
            if hasattr(port, method):
                replacement.__name__ = method
                object.__setattr__(port, method, replacement)
        return port


class Try:
    """One verb on a copy of the database: first as a dry run, then in earnest."""

    def __init__(self, place: Place, name: str, service: Service, seam: Harmless) -> None:
        self.place = place
        self.name = name
        self.service = service
        self.seam = seam
        self.file = place.folder / "rotator.db"

    def of(self, verb: str, key: str) -> str:
        """What it does; a dry run says the same and touches nothing, nor does a refusal, nor a second time."""
        kept = self.bytes()
        with self.service.engine.dry(self.name) as work:
            foreseen = self.refusal(verb, key, work)
            events = [event.event for event in work.dry.events_to_be]
        assert self.bytes() == kept, "a dry run touches nothing"
        outcome, told = self.once(verb, key)
        assert (foreseen or ("done" if events else "nothing")) == outcome
        assert events == told
        after = self.rows()
        if verb in REPEATED:
            again, _ = self.once(verb, key)
            assert again == ("nothing" if outcome == "done" else outcome), "it may be repeated"
            assert self.rows() == after
        self.bytes()
        self.file.write_bytes(kept)
        if outcome != "done" and not verb.startswith("rotate"):  # that hurries what is open in any case
            assert self.rows() == after, "nothing was changed"
        self.seam.ended.clear()
        return outcome

    def once(self, verb: str, key: str) -> tuple[str, list[str]]:
        before = len(self.place.events)
        with self.service.engine.hold(self.name) as work:
            refused = self.refusal(verb, key, work)
        told = self.place.told()[before:]
        return refused or ("done" if told else "nothing"), told

    def refusal(self, verb: str, key: str, work: Work) -> str | None:
        try:
            VERBS[verb](work, key)
        except RotatorError as refusal:
            return refusal.reason
        return None

    def rows(self) -> Any:
        credential = next(c for c in self.service.store.credentials() if c.name == self.name)
        return self.service.store.load(credential.id)

    def bytes(self) -> bytes:
        """The whole database: closed, so that nothing of it is beside the file."""
        self.service.store.database.engine.dispose()
        return self.file.read_bytes()

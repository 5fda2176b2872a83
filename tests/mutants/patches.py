"""How each guard is taken out: the real functions, replaced while it lasts. No file is changed."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from rotator import logs
from rotator.domain import policy
from rotator.domain.errors import LostAnswer
from rotator.domain.model import (
    Cause,
    Delivery,
    Retirement,
    RetirementReason,
    RetirementState,
    Rotation,
    Version,
    VersionState,
)
from rotator.domain.secret import Material
from rotator.engine import creation, places, retirement, rotation
from rotator.engine.places import Look, Standing
from rotator.engine.work import MOVING, Work
from rotator.ports.destination import Reading
from rotator.ports.provider import Issues, Key
from rotator.ports.store import Insert, NewEvent, Update, Write
from rotator.store import schema
from rotator.store.tables import head
from tests.simulation.world import By, Place, World

TakeOut = Callable[[pytest.MonkeyPatch], None]


def nothing(*_given: Any, **_named: Any) -> None:
    """A guard that is not there."""


def without(owner: Any, name: str, instead: Any = nothing) -> TakeOut:
    """The function is replaced, by default by one that does nothing and objects to nothing."""
    return lambda patch: patch.setattr(owner, name, instead)


def without_checks(*left_out: Callable[..., Any]) -> TakeOut:
    """The policy's chain without these checks."""
    chain = tuple(check for check in policy.CHAIN if check not in left_out)
    return without(policy, "CHAIN", chain)


def in_one_trip(guard: str, instead: str) -> TakeOut:
    """PostgreSQL's function that records, made anew without a part of it once the migrations have made it."""
    true = schema._migrate

    def migrate(connection: Connection) -> None:
        true(connection)
        if connection.dialect.name == "postgresql":
            function = connection.exec_driver_sql("SELECT pg_get_functiondef('keyturn_record'::regproc)").scalar_one()
            assert function.count(guard) == 1
            connection.execute(text(function.replace(guard, instead)))

    return without(schema, "_migrate", migrate)


def both(*parts: TakeOut) -> TakeOut:
    def take_out(patch: pytest.MonkeyPatch) -> None:
        for part in parts:
            part(patch)

    return take_out


def _calling_step() -> str:
    """The name of the function that called the patched one."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame else None
    return frame.f_code.co_name if frame else ""


@contextmanager
def _believing(work: Work, **changes: Any) -> Iterator[None]:
    """The rows are taken to say something else for a moment."""
    real = work.situation
    work.situation = replace(real, **changes)
    try:
        yield
    finally:
        work.situation = real


# a key is made


def issue_without_intent(work: Work, provider: Issues) -> None:
    version = creation._new_version(work)
    issued = work.ask(provider.create, version.label)
    changes = {"key_id": issued.key_id}
    work.record([Insert(version), Update(version, changes), Update(work.rotation(), {"target_id": version.id})], [])


def create_again(patch: pytest.MonkeyPatch) -> None:
    """A request to create without an answer is sent once more, as an HTTP library would."""
    ask = Work.ask

    def twice(self: Work, do: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return ask(self, do, *args, **kwargs)
        except LostAnswer:
            if getattr(do, "__name__", "") != "create":
                raise
            return ask(self, do, *args, **kwargs)

    patch.setattr(Work, "ask", twice)


def sweep(work: Work, row: Retirement, version: Version) -> None:
    """What the list shows and nobody knows is deleted at once, and then the row says so."""
    known = work.store.known_keys(version.account)
    for key in work.ask(work.provider.keys):
        if key.id not in known:
            work.ask(work.provider.delete, key.id)
    closed = {"state": RetirementState.DELETED, "closed_at": work.now(), **MOVING}
    work.record([Update(version, {"state": VersionState.RETIRED}), Update(row, closed)], [])


def delete_for_a_slot(work: Work, keys: list[Key]) -> None:
    """A full slot is emptied by deleting the oldest key."""
    living = work.provider.capabilities.living
    if living is not None and len(keys) >= living:
        oldest = min(keys, key=lambda key: (key.created_at is not None, key.created_at))
        work.ask(work.provider.delete, oldest.id)


def look_for_it_at_once(patch: pytest.MonkeyPatch) -> None:
    opened = retirement.open_retirement

    def hasty(work: Work, version: Version, why: RetirementReason, **pinned: Any) -> Insert:
        insert = opened(work, version, why, **pinned)
        if why is RetirementReason.LOST_ANSWER and isinstance(insert.row, Retirement):
            return Insert(replace(insert.row, not_before=None))
        return insert

    for module in (creation, rotation):
        patch.setattr(module, "open_retirement", hasty)


# a place is written


def write_on_what_stands_there(patch: pytest.MonkeyPatch) -> None:
    """The write names the revision of a second look, not the recorded one."""
    call = Work.call

    def later(self: Work, do: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(do, "__name__", "") == "write":
            args = (args[0], do.__self__._read().revision, args[2])
        return call(self, do, *args, **kwargs)

    patch.setattr(Work, "call", later)


def any_revision(patch: pytest.MonkeyPatch) -> None:
    """The places of the simulation take every write."""
    put = World.put

    def at_any(self: World, place: Place, fields: dict[str, str | None], by: By, _expected: int | None = None) -> int:
        return put(self, place, fields, by)

    patch.setattr(World, "put", at_any)


def unconditional(kind: Callable[[], Any]) -> TakeOut:
    """A destination whose write succeeds at any revision."""

    def take_out(patch: pytest.MonkeyPatch) -> None:
        write = kind().write

        def at_any(self: Any, fields: Mapping[str, Any], _expected: str, token: str) -> str:
            revision: str = write(self, fields, self.read().revision, token)
            return revision

        patch.setattr(kind(), "write", at_any)

    return take_out


def not_waiting_in(step: str) -> TakeOut:
    """A call that may take effect late is not waited for by this step."""

    def take_out(patch: pytest.MonkeyPatch) -> None:
        real = Work.outwait_late_calls

        def outwait(self: Work) -> None:
            if _calling_step() != step:
                real(self)

        patch.setattr(Work, "outwait_late_calls", outwait)

    return take_out


def not_noting_in(step: str) -> TakeOut:
    """An answer that this step did not get is forgotten."""

    def take_out(patch: pytest.MonkeyPatch) -> None:
        real = Work.noting_late_calls

        def note(self: Work, **more: bool) -> AbstractContextManager[None]:
            return nullcontext() if _calling_step() == step else real(self, **more)

        patch.setattr(Work, "noting_late_calls", note)

    return take_out


def believe_acknowledgements(patch: pytest.MonkeyPatch) -> None:
    """What was pushed counts as read."""
    real = rotation.verify_one

    def verify_one(work: Work, row: Rotation, delivery: Delivery, version: Version, material: Material) -> None:
        templates = places.templates_of(delivery)
        pushed = places.render(work, templates, dict.fromkeys(templates, version))

        def blind(_work: Work, _destination: Any, _templates: Any, wanted: Any) -> Look:
            reading = Reading(fields=pushed, revision=delivery.revision or "")
            held = {field: version.id for field, version in wanted.items()}
            return Look(reading, Standing.WANTED, frozenset(held.values()), Standing.WANTED, held)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(rotation, "look", blind)
            real(work, row, delivery, version, material)

    patch.setattr(rotation, "verify_one", verify_one)


def leave_owed_places(work: Work) -> bool:
    """A place that was left out counts as given, once it was given anything."""
    placed = {p.identity for p in work.situation.placements}
    return any(t.destination.identity not in placed for t in work.managed.targets)


# what was begun is given up


def spare_the_write(patch: pytest.MonkeyPatch) -> None:
    """A put-back leaves a place alone where the value is right."""
    real = rotation.push_one

    def push_one(work: Work, delivery: Delivery, version: Version) -> None:
        destination, templates = places.reach(work, delivery), places.templates_of(delivery)
        held = dict.fromkeys(templates, version)
        seen = places.look(work, destination, templates, wanted=held)
        if seen.standing is not Standing.WANTED:
            real(work, delivery, version)
            return
        fields = places.render(work, templates, held)
        rotation._pushed(work, delivery, version, held, fields, seen.reading.revision, {}, reason="already_there")

    patch.setattr(rotation, "push_one", push_one)


def believe_the_value(patch: pytest.MonkeyPatch) -> None:
    """A put-back counts as verified where the right value stands, whether or not it was we who wrote."""
    real = rotation.verify_one

    def verify_one(work: Work, row: Rotation, delivery: Delivery, version: Version, material: Material) -> None:
        real(work, row, replace(delivery, base_revision=None), version, material)

    patch.setattr(rotation, "verify_one", verify_one)


def not_put_back(_work: Work, _abandoned: Rotation, _current: Version) -> list[Insert]:
    return []


def put_back_once(patch: pytest.MonkeyPatch) -> None:
    """A put-back that is given up counts like any other rotation."""
    real = rotation.abandon

    def abandon(work: Work, row: Rotation, **why: Any) -> None:
        real(work, replace(row, cause=Cause.MANUAL) if row.cause is Cause.PUT_BACK else row, **why)

    patch.setattr(rotation, "abandon", abandon)


# a key is taken away


def record_at_once(patch: pytest.MonkeyPatch) -> None:
    """Places that are written side by side do not wait for each other's records."""
    real = Work.record

    def record(self: Work, writes: Sequence[Write], events: Sequence[NewEvent]) -> None:
        self._recording = nullcontext()  # type: ignore[assignment]
        real(self, writes, events)

    patch.setattr(Work, "record", record)


def look_once(patch: pytest.MonkeyPatch) -> None:
    """What the first look of a retirement saw is good for all of its steps."""
    real, looks = retirement.guard, dict[str, places.Survey]()

    def guard(work: Work, row: Retirement, version: Version, **more: bool) -> retirement.Guarded:
        def survey(work: Work) -> places.Survey:
            if row.id not in looks:
                looks[row.id] = places.survey(work)
            return looks[row.id]

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(retirement, "survey", survey)
            return real(work, row, version, **more)

    patch.setattr(retirement, "guard", guard)


def served(**changes: Any) -> TakeOut:
    """The look at the places is judged as if the rows said this."""

    def take_out(patch: pytest.MonkeyPatch) -> None:
        real = retirement._served_elsewhere

        def _served_elsewhere(
            work: Work, row: Retirement, version: Version, seen: places.Survey, **more: bool
        ) -> list[str]:
            retirement._no_place_was_removed(work, row, version)
            with _believing(work, **changes):
                return real(work, row, version, seen, **more)

        patch.setattr(retirement, "_served_elsewhere", _served_elsewhere)

    return take_out


def believe_deletions(_work: Work, _version: Version) -> str:
    return "it said so"


# what is told


def quote_errors(patch: pytest.MonkeyPatch) -> None:
    """An unknown exception is told with its text."""
    describe = logs.describe
    patch.setattr(logs, "describe", lambda problem: f"{describe(problem)}: {problem}")


# the store


def any_lease(database: Any, connection: Any, _lease: Any) -> Any:
    return database.now(connection)


def no_fence(_last: Any, _now: Any) -> None:
    """Taking over leaves no trace."""


HEAD_WITHOUT_LOCK = select(head.c.seq, head.c.hash, head.c.tree)


# what leaves this process


def trust_anybody(_ca_file: Path | None) -> ssl.SSLContext:
    """No certificate is looked at."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trust_old_tls(ca_file: Path | None) -> ssl.SSLContext:
    """Whatever version the other side speaks."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    return context

"""One sealing key takes the place of another while everything goes on, and none is lost that is needed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from rotator.domain.errors import PermanentError, SetupError, Unavailable
from rotator.domain.model import RetirementState, RotationState, VersionId
from rotator.domain.secret import Material, Secret
from rotator.ports.sealer import DataKey, Place, Sealer
from rotator.ports.store import DropSealed, Insert, Seal, Update
from rotator.sealers.local import LocalSealer, new_key
from rotator.store import tables
from rotator.store.keyring import Keyring
from rotator.store.sealing_keys import SealingKeys
from rotator.store.store import SqlStore, open_store
from tests.contracts.store import Work
from tests.store.conftest import NewUrl, Stores, new_id, new_sealer

OLD, NEW = new_sealer("file:old.key"), new_sealer("file:new.key")
VALUES = 7


@pytest.fixture
def url(new_url: NewUrl) -> str:
    return new_url()


@pytest.fixture
def store(url: str, opened: Stores) -> SqlStore:
    """A database that was begun under OLD; this worker has NEW as well."""
    return opened(url, keyring=Keyring([OLD, NEW]))


@pytest.fixture
def keys(store: SqlStore) -> SealingKeys:
    return store.sealing_keys("cli:ann@test")


@pytest.fixture
def work(store: SqlStore) -> Work:
    return Work(store)


def seal(work: Work, *values: str) -> dict[VersionId, Material]:
    """Versions with these secrets, sealed under the active key."""
    sealed = {}
    for value in values:
        version = work.version()
        sealed[version.id] = Material.of(secret=value)
        work.record(Insert(version), Seal(version.id, sealed[version.id]))
    return sealed


def under(store: SqlStore) -> dict[str, int]:
    """How many values stand under which key."""
    counted = select(tables.sealed.c.sealed_under, func.count()).group_by(tables.sealed.c.sealed_under)
    with store.database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(counted)}


def change(keys: SealingKeys) -> None:
    """From OLD to NEW, up to the re-wrapping."""
    assert keys.add("file:new.key", None)
    assert keys.activate(keys.find("file:new.key"), None)


def test_a_new_key_takes_the_place_of_the_old_one(store: SqlStore, keys: SealingKeys, work: Work, url: str) -> None:
    fingerprint = store.fingerprint(Secret("one"))
    before = seal(work, *(f"value {n}" for n in range(VALUES)))
    change(keys)
    after = seal(work, "a new value")
    assert under(store) == {OLD.id: VALUES, NEW.id: 1}
    steps = list(keys.rewrap(3, "yearly"))
    assert [(step.done, step.left) for step in steps] == [(4, 4), (7, 1), (8, 0), (8, 0)]
    assert under(store) == {NEW.id: VALUES + 1}
    keys.remove(keys.find(OLD.id), None)
    assert [(key.name, key.active, key.values, key.pepper) for key in keys.listed()] == [
        ("file:new.key", True, VALUES + 1, True)
    ]
    only_new = open_store(url, new_id=new_id, keyring=Keyring([NEW]))
    assert {version: only_new.material(version) for version in before | after} == before | after
    assert only_new.fingerprint(Secret("one")) == fingerprint
    only_new.close()


def test_every_step_is_in_the_trail(store: SqlStore, keys: SealingKeys, work: Work) -> None:
    seal(work, "one")
    keys.add("file:new.key", "yearly")
    keys.activate(keys.find(NEW.id), "yearly")
    list(keys.rewrap(10, "yearly"))
    keys.remove(keys.find(OLD.id), "yearly")
    lines = [json.loads(event.body) for event in store.events()]
    told = [(line["event"], line["actor"], line["detail"]) for line in lines if line["event"].startswith("seal_")]
    new = {"because": "yearly", "key": NEW.id, "name": "file:new.key"}
    assert told == [
        ("seal_add.succeeded", "cli:ann@test", new),
        ("seal_activate.succeeded", "cli:ann@test", new),
        ("seal_rewrap.started", "cli:ann@test", {**new, "left": 2}),
        ("seal_rewrap.succeeded", "cli:ann@test", {**new, "done": 2}),
        ("seal_remove.succeeded", "cli:ann@test", {"because": "yearly", "key": OLD.id, "name": "file:old.key"}),
    ]


def test_what_is_done_already_is_not_done_again(store: SqlStore, keys: SealingKeys, work: Work) -> None:
    seal(work, "one")
    change(keys)
    list(keys.rewrap(10, None))
    count = store.head()[0]
    assert not keys.add("file:new.key", None)
    assert not keys.activate(keys.find(NEW.id), None)
    assert list(keys.rewrap(10, None)) == []
    assert store.head()[0] == count


def test_a_key_that_is_needed_is_not_removed(store: SqlStore, keys: SealingKeys, work: Work) -> None:
    seal(work, "one", "two")

    def refusal() -> PermanentError:
        with pytest.raises(PermanentError) as refused:
            keys.remove(keys.find(OLD.id), None)
        assert refused.value.reason == "sealing_key_needed"
        assert refused.value.remedy
        return refused.value

    assert "is the active key" in refusal().message
    change(keys)
    assert "2 sealed values and the pepper" in refusal().message
    with store.database.write() as connection:
        connection.execute(delete(tables.sealed))
    assert refusal().message.startswith("the pepper of all fingerprints can be opened with file:old.key")
    list(keys.rewrap(10, None))
    keys.remove(keys.find(OLD.id), None)


@pytest.mark.parametrize("table", ["sealed", "install"])
def test_the_database_itself_keeps_a_key_that_is_needed(store: SqlStore, work: Work, table: str) -> None:
    seal(work, "one")
    if table == "install":
        with store.database.write() as connection:
            connection.execute(delete(tables.sealed))
    with pytest.raises(IntegrityError), store.database.write() as connection:
        connection.execute(delete(tables.sealing_key))


def test_the_database_itself_has_one_active_key(store: SqlStore, keys: SealingKeys) -> None:
    keys.add("file:new.key", None)
    with pytest.raises(IntegrityError), store.database.write() as connection:
        connection.execute(update(tables.sealing_key).values(active=True))


@pytest.mark.parametrize("missing", [OLD, NEW], ids=["old", "new"])
def test_a_worker_that_lacks_a_key_on_record_does_not_start(
    store: SqlStore, keys: SealingKeys, url: str, missing: Sealer
) -> None:
    keys.add("file:new.key", None)
    has = NEW if missing is OLD else OLD
    with pytest.raises(SetupError) as refused:
        open_store(url, new_id=new_id, keyring=Keyring([has]))
    assert refused.value.reason == "wrong_sealing_key"
    assert f"{missing.name} ({missing.id})" in refused.value.message


def test_a_worker_that_is_running_seals_under_the_key_that_was_activated_meanwhile(
    store: SqlStore, work: Work, url: str
) -> None:
    prepared_before = work.version()
    prepared = store.prepare(prepared_before.id)
    elsewhere = open_store(url, new_id=new_id, keyring=Keyring([OLD, NEW]))
    change(elsewhere.sealing_keys("bob"))
    elsewhere.close()
    seal(work, "one")
    work.record(Insert(prepared_before), Seal(prepared_before.id, Material.of(secret="two"), prepared))
    assert under(store) == {NEW.id: 2}


def test_the_proof_of_a_key_is_opened_before_work_begins(store: SqlStore, url: str) -> None:
    other = Work(store).version().id
    with store.database.write() as connection:
        proof = bytes(connection.scalar(select(tables.sealing_key.c.proof)) or b"")
        connection.execute(update(tables.sealing_key).values(proof=proof[:-1] + bytes([proof[-1] ^ 1])))
    with pytest.raises(SetupError) as refused:
        open_store(url, new_id=new_id, keyring=Keyring([OLD]))
    assert refused.value.reason == "sealed_tampered"
    assert other


def test_proofs_that_are_swapped_open_nothing(store: SqlStore, keys: SealingKeys, url: str) -> None:
    keys.add("file:new.key", None)
    with store.database.write() as connection:
        row = connection.execute(select(tables.sealing_key).where(tables.sealing_key.c.id == NEW.id)).one()
        connection.execute(update(tables.sealing_key).where(tables.sealing_key.c.id == OLD.id).values(proof=row.proof))
    with pytest.raises(SetupError) as refused:
        open_store(url, new_id=new_id, keyring=Keyring([OLD, NEW]))
    assert refused.value.reason == "sealed_tampered"


def test_a_key_that_does_not_work_is_not_put_on_record(url: str, opened: Stores) -> None:
    class Down(LocalSealer):
        def data_key(self, place: Place) -> DataKey:
            message = "the service does not answer"
            raise Unavailable(message)

    down = Down(Secret(new_key()), "aws-kms:alias/x")
    keys = opened(url, keyring=Keyring([OLD, down])).sealing_keys("ann")
    with pytest.raises(Unavailable):
        keys.add("aws-kms:alias/x", None)
    assert [key.name for key in keys.listed()] == ["file:old.key"]


def test_an_unknown_key_is_answered_with_those_on_record(keys: SealingKeys) -> None:
    with pytest.raises(SetupError, match=r"no sealing key file:x\.key is on record; on record: file:old\.key"):
        keys.find("file:x.key")


def test_two_that_rewrap_at_once_do_everything_once(store: SqlStore, keys: SealingKeys, work: Work, url: str) -> None:
    sealed = seal(work, *(f"value {n}" for n in range(VALUES)))
    change(keys)
    barrier, done = threading.Barrier(2), []

    def run() -> None:
        own = open_store(url, new_id=new_id, keyring=Keyring([OLD, NEW]))
        barrier.wait()
        done.append([step.done for step in own.sealing_keys("ann").rewrap(2, None)])
        own.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(steps[-1] for steps in done if steps) == VALUES + 1
    assert under(store) == {NEW.id: VALUES}
    assert {version: store.material(version) for version in sealed} == sealed


def test_what_a_worker_replaces_or_drops_meanwhile_stays_so(
    store: SqlStore, keys: SealingKeys, work: Work, url: str
) -> None:
    class Watched(LocalSealer):
        def unwrap(self, wrapped: bytes, place: Place) -> bytes:
            meanwhile.pop(place["row"], lambda: None)()
            return super().unwrap(wrapped, place)

    meanwhile: dict[str, Callable[[], object]] = {}
    watched = Watched(Secret(new_key()), "file:third.key")
    third = open_store(url, new_id=new_id, keyring=Keyring([OLD, NEW, watched]))
    third.sealing_keys("ann").add("file:third.key", None)
    third.sealing_keys("ann").activate(keys.find(watched.id), None)
    store.close()
    work.store = third
    replaced, dropped = seal(work, "before", "dropped")
    change(third.sealing_keys("ann"))
    meanwhile[replaced] = lambda: work.record(Seal(replaced, Material.of(secret="after")))
    meanwhile[dropped] = lambda: work.record(DropSealed(dropped))
    steps = list(third.sealing_keys("ann").rewrap(10, None))
    assert steps[-1].left == 0
    assert steps[-1].done == 1  # the pepper
    assert third.material(replaced) == Material.of(secret="after")
    assert third.material(dropped) is None
    third.close()


# Kept no longer than there is work


def test_with_keep_rotation_nothing_is_kept_at_rest(url: str, opened: Stores) -> None:
    store = opened(url, keyring=Keyring([OLD]), keeps=False)
    work = Work(store)
    version = work.version()
    rotation = work.rotation(target_id=version.id)
    work.record(Insert(version), Insert(rotation), Seal(version.id, Material.of(secret="one")))
    assert store.material(version.id) == Material.of(secret="one")
    retirement = work.retirement(version)
    work.record(Update(rotation, {"state": RotationState.COMPLETED}), Insert(retirement))
    assert store.material(version.id) == Material.of(secret="one")
    work.record(Update(retirement, {"state": RetirementState.CANCELLED}))
    assert store.material(version.id) is None
    assert under(store) == {}


def test_another_credential_at_work_keeps_nobody_elses_values(url: str, opened: Stores) -> None:
    store = opened(url, keyring=Keyring([OLD]), keeps=False)
    busy, idle = Work(store), Work(store, name="idle")
    version = busy.version()
    busy.record(Insert(version), Insert(busy.rotation(target_id=version.id)), Seal(version.id, Material.of(secret="x")))
    seal(idle, "y")
    assert under(store) == {OLD.id: 1}
    assert store.material(version.id) is not None


def test_what_was_kept_before_goes_when_the_database_is_opened(url: str, opened: Stores) -> None:
    seal(Work(opened(url, keyring=Keyring([OLD]))), "one")
    store = opened(url, keyring=Keyring([OLD]), keeps=False)
    assert under(store) == {}

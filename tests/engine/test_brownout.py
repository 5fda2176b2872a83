"""Brownouts on moto's IAM: an old key is disabled for a while, and comes back by itself whatever happens meanwhile.

One installation is built once, with a brownout that is due and with one that lasts; each test begins at a copy of it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from rotator import wiring
from rotator.config import CredentialConfig
from rotator.domain.errors import AccessDenied, LostAnswer, Refused, TemporaryError, Unavailable
from rotator.domain.model import Cause
from rotator.engine import operator, reactivation
from rotator.engine.rollback import rollback
from rotator.engine.work import Managed
from rotator.ports.hook import Occasion
from rotator.ports.provider import Answer, Verdict
from rotator.testbed.aws import Aws
from rotator.testbed.gate import Gate
from tests.engine.place import Consumer, Place
from tests.engine.test_going_back import held
from tests.engine.test_guards import NO_WRITES, Crash, On, Patched
from tests.engine.test_iam import Deployer, deployer  # noqa: F401 - a fixture
from tests.engine.test_pausing import pause, unpause
from tests.engine.test_removed import take_out

ALWAYS = ["MON-SUN"]
POLICY: dict[str, Any] = {
    "grace": "10d",
    "soak": "1h",
    "rotate_every": "30d",
    "brownout": {"after": "10ms", "for": "30m", "hours": ALWAYS},
}

PATIENT = {"lease": "30s", "call_budget": "10s"}
"""For servers on a busy machine."""


@dataclass
class House:
    """The installation, with the old key of its only credential."""

    iam: Deployer
    old: str = ""
    before: str = ""  # what stood at the place when the old key was current

    @property
    def place(self) -> Place:
        return self.iam.place

    @property
    def status(self) -> str:
        """Of the old key, at IAM."""
        return self.iam.listed()[self.old]

    def previous(self) -> tuple[str, str | None, str | None]:
        """The old version's state, next step and reason."""
        (found,) = self.place.status("deployer")["previous"]
        return found["state"], found["step"], found["reason"]

    @property
    def findings(self) -> list[str]:
        with self.place.service(unlock=False) as service:
            return [f.message for f in service.store.findings() if f.kind == "brownout"]

    def keep(self, name: str) -> None:
        shutil.copy(self.place.folder / "rotator.db", self.place.folder / f"{name}.db")

    def back_to(self, name: str, status: str) -> None:
        """The database of that moment, and IAM as it was then."""
        shutil.copy(self.place.folder / f"{name}.db", self.place.folder / "rotator.db")
        self.iam.iam.update_access_key(UserName=self.iam.user, AccessKeyId=self.old, Status=status)
        self.place.events, self.place.bugs = [], []
        self.place.engine = dict(PATIENT)
        self.iam.write(**POLICY)

    def set_dates(self, change: str) -> None:
        """As if the clock were another."""
        with closing(sqlite3.connect(self.place.folder / "rotator.db")) as database, database:
            database.execute(f"UPDATE retirement SET {change} WHERE state = 'browned_out'")

    def time_passes(self) -> None:
        """The brownout is over, and whatever waits for a time may go on."""
        self.set_dates("restore_at = opened_at, not_before = opened_at")
        with closing(sqlite3.connect(self.place.folder / "rotator.db")) as database, database:
            database.execute("UPDATE delivery SET not_before = NULL")
            database.execute("UPDATE lease SET fenced_at = NULL")

    def stands(self, body: str) -> None:
        """Somebody puts this at the place."""
        self.iam.manager.put_secret_value(SecretId=self.iam.secret, SecretString=body)

    def run(self, patience: float = 20, seam: wiring.Seam | None = None) -> None:
        self.place.rotate(patience=patience, seam=seam)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, aws: Aws) -> Iterator[House]:
    place = Place(tmp_path_factory.mktemp("brownout"), engine=dict(PATIENT))
    found = House(Deployer(place, aws, cast("Gate", SimpleNamespace(url=aws.url))))
    found.iam.write(**POLICY)
    place.rotate(patience=10)
    found.old, found.before = next(iter(found.iam.listed())), json.dumps(found.iam.body())
    assert place.rotate("deployer", now=True, patience=10)["deployer"].completed
    found.keep("due")
    with Consumer([found.iam.works]) as consumer:
        found.run(0.1)
    assert consumer.dead == 0
    told = ("brownout.started", "brownout.succeeded", "brownout.found")
    assert place.told(*told) == list(told)
    found.keep("lasting")
    yield found
    found.iam.iam.close()
    found.iam.manager.close()


@pytest.fixture
def due(house: House) -> House:
    """The old key is in its grace, and its brownout may begin."""
    house.back_to("due", "Active")
    assert house.previous() == ("previous", "brownout", "grace")
    return house


@pytest.fixture
def lasting(house: House) -> House:
    """The old key is disabled for half an hour."""
    house.back_to("lasting", "Inactive")
    assert house.previous() == ("disabled", "restore", "brownout")
    return house


def test_the_old_key_is_enabled_again_when_its_time_is_over_and_that_was_it(lasting: House) -> None:
    (message,) = lasting.findings
    assert lasting.old in message
    until = message.partition(" is disabled until ")[2][:19].replace(" ", "T")
    assert lasting.place.status("deployer")["previous"][0]["not_before"] == f"{until}Z"
    assert f"the next step is restore, not before {until}Z" in lasting.place.explain("deployer")
    lasting.run(0.5)
    assert lasting.status == "Inactive"
    lasting.time_passes()
    lasting.run()
    assert lasting.status == "Active"
    assert lasting.previous() == ("previous", "drain", "grace")
    assert lasting.findings == []
    told = ("enable.started", "restore.succeeded", "brownout.started", "brownout.cleared")
    assert lasting.place.told(*told) == ["enable.started", "restore.succeeded", "brownout.cleared"]
    lasting.place.verified()


# whatever dies


def dying(method: str) -> list[wiring.Seam]:
    """Seams with which the worker dies before, and after, the provider has done it."""

    def before(_: Callable[[str], None]) -> Callable[[str], None]:
        def die(_key: str) -> None:
            raise Crash

        return die

    def after(do: Callable[[str], None]) -> Callable[[str], None]:
        def die(key: str) -> None:
            do(key)
            raise Crash

        return die

    return [Patched("provider", **{method: make}) for make in (before, after)]


def die() -> None:
    raise Crash


@pytest.mark.parametrize("event", ["brownout.started", "brownout.succeeded"])
def test_a_worker_that_dies_at_its_beginning_leaves_a_row_that_ends_it(due: House, event: str) -> None:
    due.place.events = On(event, die)
    with pytest.raises(Crash):
        due.run()
    due.place.events = []
    assert due.previous()[1] == "restore"
    due.time_passes()
    due.run()
    assert due.status == "Active"
    assert due.previous() == ("previous", "drain", "grace")
    assert due.place.told("brownout.started") == [], "it is not repeated"


@pytest.mark.parametrize("call", [0, 1])
def test_a_worker_that_dies_at_the_disable_does_not_leave_the_key_disabled(due: House, call: int) -> None:
    with pytest.raises(Crash):
        due.run(seam=dying("disable")[call])
    assert due.status == ("Active", "Inactive")[call]
    due.set_dates("not_before = opened_at")  # its time is not over: but nobody knows since when it lasts
    due.run()
    assert due.status == "Active"
    told = next(e for e in due.place.events if e["event"] == "restore.succeeded")
    assert told["reason"] == "interrupted"


@pytest.mark.parametrize("point", ["enable.started", "before", "after", "restore.succeeded"])
def test_a_worker_that_dies_at_its_end_is_gone_on_with(lasting: House, point: str) -> None:
    lasting.place.engine["watch"] = "1ms"
    lasting.iam.write(**POLICY)
    lasting.time_passes()
    seams = dict(zip(("before", "after"), dying("enable"), strict=True))
    if point not in seams:
        lasting.place.events = On(point, die)
    with pytest.raises(Crash):
        lasting.run(seam=seams.get(point))
    lasting.place.events = []
    lasting.run()
    assert lasting.status == "Active"
    assert lasting.previous() == ("previous", "drain", "grace")
    assert lasting.findings == []


def test_a_disable_that_comes_late_is_outwaited(due: House) -> None:
    due.place.engine = {"lease": "5s", "call_budget": "2s"}
    due.iam.write(**POLICY)
    late: list[threading.Timer] = []

    def lost(do: Callable[[str], None]) -> Callable[[str], None]:
        def send(key: str) -> None:
            late.append(threading.Timer(1, do, [key]))
            late[0].start()
            message = "no answer"
            raise LostAnswer(message)

        return send

    due.run(seam=Patched("provider", disable=lost))
    late[0].join()
    assert due.previous() == ("previous", "drain", "grace")
    assert due.status == "Active"


def test_a_disable_that_is_refused_blocks_and_the_key_stays_enabled(due: House) -> None:
    def refuse(_key: str) -> None:
        message = "iam:UpdateAccessKey is not allowed"
        raise AccessDenied(message)

    due.run(0.5, seam=Patched("provider", disable=lambda _: refuse))
    assert due.status == "Active"
    assert due.previous() == ("previous", "brownout", "access_denied")
    assert due.findings == []


def test_a_key_that_somebody_has_deleted_meanwhile_is_not_waited_for(lasting: House) -> None:
    lasting.time_passes()

    def gone(_key: str) -> None:
        message = "no such key"
        raise Refused(message)

    seam = Patched(
        "provider", enable=lambda _: gone, keys=lambda keys: lambda: [k for k in keys() if k.id != lasting.old]
    )
    lasting.run(0.5, seam=seam)
    assert lasting.previous() == ("previous", "drain", "grace")


# gates, hours, brakes


def test_it_does_not_begin_while_the_current_key_is_refused(due: House) -> None:
    refused = Answer(verdict=Verdict.REFUSED, why="no such key")
    due.run(0.3, seam=Patched("provider", authenticate=lambda _: lambda _material: refused))
    assert due.previous() == ("previous", "brownout", "current_refused")
    assert due.status == "Active"


def test_it_waits_for_its_hours(due: House) -> None:
    day = (datetime.now(UTC) + timedelta(days=2)).strftime("%a")
    due.iam.write(**{**POLICY, "brownout": {**POLICY["brownout"], "hours": [f"{day} 10:00-12:00"]}})
    due.run(0.3)
    assert due.previous() == ("previous", "brownout", "brownout_hours")
    opens = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT10:00:00Z")
    assert due.place.status("deployer")["previous"][0]["not_before"] == opens
    assert "the next step is brownout" in due.place.explain("deployer")
    assert due.status == "Active"


@pytest.mark.parametrize("policy", [{"blackouts": ["2026-01-01/2999-01-01"]}, {"brownout": None}])
def test_where_it_never_can_be_it_is_left_out_and_told(due: House, policy: dict[str, Any]) -> None:
    due.iam.write(**{**POLICY, **policy})
    due.run(0.3)
    assert due.previous() == ("previous", "drain", "grace")
    assert due.place.told("brownout.failed", "brownout.started") == ["brownout.failed"]
    assert due.status == "Active"


def test_a_person_in_a_hurry_does_not_begin_it(due: House) -> None:
    due.place.rotate("deployer", now=True, patience=0.3)
    assert due.status == "Active"
    assert due.previous()[1] == "brownout"


def test_the_brake_on_the_account_does_not_keep_it(lasting: House) -> None:
    def fail(_key: str) -> None:
        message = "not now"
        raise Unavailable(message)

    lasting.place.engine["brake"] = {"failures": 1}
    lasting.iam.write(**POLICY)
    lasting.time_passes()
    broken = Patched("provider", enable=lambda _: fail)
    lasting.run(0.1, seam=broken)
    with lasting.place.service(unlock=False) as service:
        braked = service.store.account("aws")
        assert braked.paused_until is not None
    lasting.time_passes()
    lasting.run(0.1, seam=broken)
    assert lasting.status == "Inactive"
    with lasting.place.service(unlock=False) as service:
        assert service.store.account("aws") == braked, "its failures keep nobody else waiting"
    progress = lasting.place.rotate(patience=2)["deployer"]
    assert getattr(progress.decision, "reason", None) in ("account_braked", "not_due")
    assert lasting.status == "Active"


def test_a_clock_that_was_set_back_does_not_make_it_longer(lasting: House) -> None:
    lasting.set_dates(
        "restore_at = replace(restore_at, '2026', '2036'), not_before = replace(not_before, '2026', '2036')"
    )
    lasting.run()
    assert lasting.status == "Active"


def test_a_credential_that_is_taken_out_gets_its_key_back(lasting: House) -> None:
    take_out(lasting.place, "credentials", "deployer")
    lasting.run(0.1)
    assert lasting.findings, "it lasts still"
    assert lasting.place.told("brownout.cleared") == []
    lasting.time_passes()
    lasting.run()
    assert lasting.status == "Active"
    assert lasting.findings == []


def test_a_pass_that_began_it_stays_to_end_it(lasting: House) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    lasting.set_dates(f"restore_at = '{soon:%Y-%m-%dT%H:%M:%S.%fZ}', not_before = opened_at")
    with lasting.place.service() as service:
        service.running().run(service.names, None, timedelta(0), stays=True)
    assert lasting.status == "Active"


def test_it_ends_before_anything_else_is_done(lasting: House) -> None:
    other = {"to": "sm", "path": f"{lasting.iam.secret}-too"}
    lasting.iam.manager.create_secret(Name=other["path"], SecretString="{}")
    content = yaml.safe_load(lasting.place.file.read_text())
    content["credentials"]["deployer"]["destinations"].append(other)
    lasting.place.file.write_text(yaml.safe_dump(content))
    lasting.run(0.2, seam=NO_WRITES)
    assert lasting.place.status("deployer")["rotation"]["step"] == "push"
    lasting.time_passes()
    lasting.place.events = []
    lasting.run()
    order = ["enable.started", "restore.succeeded", "push.started"]
    assert lasting.place.told(*order) == order


# what a person does meanwhile


def test_a_person_who_needs_the_key_has_it_at_once_and_for_good(lasting: House) -> None:
    with held(lasting.place, "deployer") as work:
        reactivation.reactivate(work)
    lasting.run()
    assert lasting.status == "Active"
    assert lasting.previous() == ("previous", None, None)
    assert lasting.findings == []
    with held(lasting.place, "deployer") as work:
        reactivation.retire(work, key=lasting.old)
    assert lasting.previous() == ("previous", "brownout", "grace")


def test_what_is_called_off_and_on_again_is_enabled_first(lasting: House) -> None:
    for _ in range(2):
        with held(lasting.place, "deployer") as work:
            reactivation.reactivate(work)
        with held(lasting.place, "deployer") as work:
            reactivation.retire(work, key=lasting.old)
    assert lasting.previous()[:2] == ("disabled", "restore")
    lasting.time_passes()
    lasting.run()
    assert lasting.status == "Active"
    assert lasting.previous() == ("previous", "drain", "grace")


def test_a_pause_ends_it_and_after_the_pause_it_is_tried_again(lasting: House) -> None:
    pause(lasting.place)
    lasting.set_dates("not_before = opened_at")  # the next look
    lasting.run(0.5)
    assert lasting.status == "Active"
    assert lasting.previous() == ("previous", "brownout", None)
    unpause(lasting.place)
    lasting.run(0.1)
    assert lasting.status == "Inactive"


def test_a_roll_back_enables_the_key_before_anything_is_pushed(deployer: Deployer) -> None:  # noqa: F811 - a fixture's value
    house = House(deployer)
    lasts(house)
    with Consumer([deployer.works]) as consumer:
        with held(deployer.place, "deployer") as work:
            rollback(work)
        house.run()
    assert consumer.dead == 0
    assert deployer.body()["AWS_ACCESS_KEY_ID"] == house.old
    assert house.status == "Active"
    assert not [message for message in house.findings if house.old in message]


def test_a_leak_keeps_it_disabled_and_takes_it_away(deployer: Deployer) -> None:  # noqa: F811 - a fixture's value
    house = House(deployer)
    lasts(house)
    with Consumer([deployer.works]) as consumer:
        result = deployer.place.rotate("deployer", now=True, cause=Cause.COMPROMISED, patience=20)["deployer"]
    assert consumer.dead == 0
    assert result.completed
    assert house.old not in deployer.listed()
    assert "enable.started" not in deployer.place.told()
    assert house.findings == []


def lasts(house: House) -> None:
    house.place.engine = dict(PATIENT)
    house.iam.write(**POLICY)
    house.run()
    house.old = next(iter(house.iam.listed()))
    assert house.place.rotate("deployer", now=True, patience=10)["deployer"].completed
    house.run(0.1)
    assert house.status == "Inactive"


# probes


class Probe:
    """Fails so many times, then passes."""

    name = "command check-web"

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def trouble(self) -> None:
        return None

    def run(self, occasion: Occasion) -> None:
        assert occasion.credential == "deployer"
        self.failures -= 1
        if self.failures >= 0:
            message = "exit status 1"
            raise TemporaryError(message, reason="probe_failed")


@pytest.fixture
def probed(lasting: House, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], House]:
    wired = wiring.Adapters._managed

    def with_probe(failures: int) -> House:
        probe = Probe(failures)

        def managed(adapters: wiring.Adapters, credential: CredentialConfig) -> Managed:
            found = wired(adapters, credential)
            return replace(found, targets=[replace(target, probe=probe) for target in found.targets])

        monkeypatch.setattr(wiring.Adapters, "_managed", managed)
        lasting.set_dates("not_before = opened_at")  # the next look
        return lasting

    return with_probe


def test_a_probe_that_fails_twice_ends_it_and_a_person_is_asked(probed: Callable[[int], House]) -> None:
    house = probed(2)
    house.run()
    assert house.status == "Active"
    status = house.place.status("deployer")
    assert (status["status"], status["reason"]) == ("blocked", "brownout_failed")
    assert "command check-web" in status["message"]
    assert "rotator reactivate deployer" in status["remedy"]
    assert house.findings == []
    with held(house.place, "deployer") as work:
        operator.resume(work)
    house.run(0.1)
    assert house.status == "Inactive", "it is tried again"


def test_a_place_that_serves_the_key_again_ends_it(lasting: House) -> None:
    now = json.dumps(lasting.iam.body())
    lasting.stands(lasting.before)
    lasting.set_dates("not_before = opened_at")  # the next look
    lasting.run()
    lasting.stands(now)
    assert lasting.status == "Active"
    status = lasting.place.status("deployer")
    assert (status["status"], status["reason"]) == ("blocked", "brownout_failed")
    assert "serves version 1" in status["message"]


def test_a_probe_that_fails_once_ends_nothing(probed: Callable[[int], House]) -> None:
    house = probed(1)
    house.run()
    assert house.status == "Inactive"
    assert house.previous() == ("disabled", "restore", "brownout")

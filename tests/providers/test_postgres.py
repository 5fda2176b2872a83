"""Passwords of the login roles of a real PostgreSQL, set by a role that is no superuser."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import ValidationError
from sqlalchemy import make_url

from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    QuotaExceeded,
    Refused,
    RotatorError,
    TemporaryError,
    Unavailable,
)
from rotator.domain.secret import Material
from rotator.ports.provider import IssuedKey, Provider, Verdict
from rotator.providers.postgres import OneRole, Postgres, RoleOptions, TwoRoles
from rotator.testbed import postgres as testbed
from rotator.testbed.process import wait_until
from rotator.testbed.tcp_gate import TcpGate
from tests.contracts.provider import CANARY, ChoosingContract, Console, DisablingContract

Connect = Callable[..., Any]


class Admin:
    """A superuser's view of two roles that nobody logs in with, and of the role that may change them."""

    def __init__(self, server: testbed.Postgres, *, odd: bool = True) -> None:
        self.server = server
        self.url = make_url(server.url())
        tail = secrets.token_hex(4)
        odd_names = (f"App {tail}'a", f'app-{tail}"b')  # as odd as names may be
        self.names = odd_names if odd else (f"app_{tail}_a", f"app_{tail}_b")
        self.user, self.password = f"rotator_{tail}", secrets.token_hex(16)
        self.run("CREATE ROLE {} LOGIN CREATEROLE PASSWORD %s", self.user, given=self.password)
        for name in self.names:
            self.run("CREATE ROLE {} NOLOGIN", name)
            self.run("GRANT {} TO {} WITH ADMIN OPTION", name, self.user)

    def run(self, statement: str, *names: str, given: str | None = None) -> list[Any]:
        query = sql.SQL(statement.replace("%s", "{}")).format(
            *map(sql.Identifier, names), *([] if given is None else [sql.Literal(given)])
        )
        where = self.url
        with psycopg.connect(
            host=where.host, port=where.port, user=where.username, password=where.password, dbname="postgres"
        ) as connection:
            done = connection.execute(query)
            return done.fetchall() if done.description else []

    def living(self) -> set[str]:
        """Passwords that are set, by the mark beside them."""
        rows = self.run(
            "SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolpassword IS NOT NULL"
        )
        marks = {name: (mark or "").partition("[keyturn ")[2].rstrip("]") for name, mark in rows if name in self.names}
        return {f"{name}-{mark or 'unmarked'}" for name, mark in marks.items()}

    def make(self) -> IssuedKey:
        """A password that a person sets on the last role."""
        name, password = self.names[-1], secrets.token_hex(16)
        self.run("ALTER ROLE {} LOGIN PASSWORD %s", name, given=password)
        return IssuedKey(key_id=f"{name}-unmarked", material=Material.of(username=name, password=password))


@pytest.fixture
def console(postgres: testbed.Postgres) -> Iterator[Admin]:
    admin = Admin(postgres)
    yield admin
    for name in (*admin.names, admin.user):
        admin.run("DROP ROLE {}", name)


@pytest.fixture
def connect(console: Admin, tmp_path: Path, patience: timedelta) -> Iterator[Connect]:
    """`connect(roles, port=…, user=…, password=…)` is a provider of these roles; closed at the end."""
    with ExitStack() as accounts:

        def provider(roles: tuple[str, ...] = console.names, **settings: Any) -> Any:
            file = tmp_path / f"password-{secrets.token_hex(4)}"
            file.write_text(settings.pop("password", console.password))
            where = {"host": "127.0.0.1", "port": console.url.port, "user": console.user, **settings}
            account = Postgres(Postgres.Settings.model_validate({**where, "password": f"file:{file}"}), patience)
            accounts.callback(account.close)
            return account.bind(RoleOptions(roles=roles))

        yield provider


class TestOneRole(ChoosingContract):
    unknown_id = "app-0123456789ab"

    @pytest.fixture
    def provider(self, connect: Connect, console: Admin) -> OneRole:
        found = connect(console.names[:1])
        assert isinstance(found, OneRole)
        return found


class TestTwoRoles(ChoosingContract, DisablingContract):
    unknown_id = "app-0123456789ab"

    def spoilt(self, material: Material) -> Material:
        return Material.of(username=material["username"].reveal(), password=CANARY)

    def make(self, provider: Provider, console: Console) -> IssuedKey:
        assert isinstance(provider, TwoRoles)
        material = provider.generate()
        return IssuedKey(key_id=provider.set(material), material=material)

    @pytest.fixture
    def provider(self, connect: Connect) -> TwoRoles:
        found = connect()
        assert isinstance(found, TwoRoles)
        return found

    @pytest.fixture
    def elsewhere(self, connect: Connect, console: Admin) -> TwoRoles:
        found = connect((console.names[0], "nobody"))
        assert isinstance(found, TwoRoles)
        return found

    @pytest.fixture
    def denied(self, connect: Connect) -> TwoRoles:
        found = connect(password=CANARY)
        assert isinstance(found, TwoRoles)
        return found


# what is promised beside the contract


def login(console: Admin, material: Material) -> bool:
    """Whether a consumer gets in."""
    try:
        psycopg.connect(
            host=console.url.host,
            port=console.url.port,
            dbname="postgres",
            user=material["username"].reveal(),
            password=material["password"].reveal(),
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def listed(provider: OneRole | TwoRoles) -> list[str]:
    return [key.id for key in provider.keys()]  # noqa: SIM118 - it is no mapping


def set_new(provider: OneRole | TwoRoles) -> Material:
    material = provider.generate()
    provider.set(material)
    return material


def test_the_one_role_ends_its_old_password_with_the_new_one(connect: Connect, console: Admin) -> None:
    provider = connect(console.names[:1])
    assert (provider.capabilities.living, provider.capabilities.slots) == (1, None), "config asks for allow_downtime"
    old, new = set_new(provider), set_new(provider)
    assert (login(console, old), login(console, new)) == (False, True)
    assert provider.authenticate(old).verdict is Verdict.REFUSED
    assert listed(provider) == [provider.identify(new)]
    provider.delete(provider.identify(old))
    assert login(console, new), "what is gone already takes nothing else away"


def test_two_roles_take_turns_and_a_consumer_never_meets_a_dead_login(connect: Connect, console: Admin) -> None:
    provider = connect()
    place = [set_new(provider)]
    over, tried, failed = threading.Event(), [0], []

    def consumer() -> None:
        while not over.is_set():
            now = place[0]
            tried[0] += 1
            if not login(console, now) and now is place[0]:
                failed.append(now["username"].reveal())
            time.sleep(0.005)

    polls = threading.Thread(target=consumer)
    polls.start()
    try:
        for turn in range(4):
            old, new = place[0], set_new(provider)
            assert new["username"] != old["username"], turn
            place[0] = new
            provider.disable(provider.identify(old))
            assert not login(console, old)
            provider.delete(provider.identify(old))
            before = tried[0]
            assert wait_until(lambda before=before: tried[0] > before + 1, within=60)  # type: ignore[misc]
    finally:
        over.set()
        polls.join()
    assert failed == []


def test_a_role_that_is_in_use_is_never_given_another_password(connect: Connect, console: Admin) -> None:
    provider, by_hand = connect(), console.make()
    first = set_new(provider)
    assert first["username"].reveal() == console.names[0]
    with pytest.raises(QuotaExceeded):
        provider.generate()
    for taken in console.names:
        with pytest.raises(QuotaExceeded):
            provider.set(Material.of(username=taken, password=secrets.token_urlsafe(32)))
    assert login(console, first)
    assert login(console, by_hand.material)


def test_the_clear_password_never_reaches_the_servers_log(connect: Connect, console: Admin) -> None:
    console.run("ALTER ROLE {} SET log_statement = 'all'", console.user)
    provider = connect()
    material = set_new(provider)
    provider.disable(provider.identify(material))
    log = console.server.log
    assert "SCRAM-SHA-256$" in log, "statements are logged"
    assert material["password"].reveal() not in log


@pytest.fixture
def line(console: Admin) -> Iterator[TcpGate]:
    gate = TcpGate(console.url.port or 0)
    yield gate
    gate.close()


@pytest.mark.hasty
def test_a_lost_answer_is_told_and_the_same_value_is_set_again(connect: Connect, console: Admin, line: TcpGate) -> None:
    provider = connect(port=line.port)
    material = provider.generate()
    with line.held("answers", lost=True), pytest.raises((LostAnswer, Unavailable)):
        provider.set(material)
    key_id = provider.set(material)
    assert key_id == provider.set(material) == provider.identify(material)
    assert listed(provider) == [key_id]
    assert login(console, material)


def test_an_answer_to_alter_role_that_is_lost_is_a_lost_answer(connect: Connect, console: Admin) -> None:
    provider = connect()
    material = provider.generate()
    name = console.names[0]
    with psycopg.connect(
        host=console.url.host,
        port=console.url.port,
        user=console.url.username,
        password=console.url.password,
        dbname="postgres",
    ) as other:  # holds the role's row, so that ALTER ROLE waits
        other.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 5").format(sql.Identifier(name)))
        ends = threading.Timer(
            0.5,
            console.run,
            ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'ALTER ROLE%LOGIN%'"],
        )
        ends.start()
        with pytest.raises(LostAnswer):
            provider.set(material)
        ends.join()
    assert provider.set(material) == provider.identify(material)
    assert login(console, material)


@pytest.mark.hasty
def test_a_silent_server_is_not_waited_for_longer_than_the_limit(connect: Connect, line: TcpGate) -> None:
    provider = connect(port=line.port)
    assert provider.account()
    began = time.monotonic()
    with line.held("answers"), pytest.raises(Unavailable):
        provider.keys()
    assert time.monotonic() - began < 6
    assert list(provider.keys()) == []


def test_a_missing_permission_is_told_before_anything_is_made(connect: Connect, console: Admin) -> None:
    console.run("REVOKE {} FROM {}", console.names[1], console.user)
    provider = connect()
    with pytest.raises(AccessDenied, match="may not set the password") as told:
        provider.account()
    assert f"GRANT {console.names[1]} TO {console.user} WITH ADMIN OPTION" in str(told.value.remedy)
    with pytest.raises(AccessDenied, match="42501") as told:
        provider.set(Material.of(username=console.names[1], password=secrets.token_urlsafe(32)))
    assert "CREATEROLE" in str(told.value.remedy)
    assert console.living() == set()


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("42501", AccessDenied),
        ("53300", TemporaryError),
        ("25006", Unavailable),
        ("57P01", LostAnswer),
        ("08006", LostAnswer),
        ("57014", Unavailable),
        ("42704", Refused),
    ],
)
def test_errors_of_the_server_are_told_as_what_they_are(connect: Connect, state: str, kind: type[RotatorError]) -> None:
    server = connect()._server
    with pytest.raises(kind) as told, server.transaction(changes=True) as connection:
        connection.execute(f"DO $$ BEGIN RAISE EXCEPTION '{CANARY}' USING ERRCODE = '{state}'; END $$")
    assert CANARY not in repr(vars(told.value))


def test_a_standby_takes_no_new_password(connect: Connect, console: Admin) -> None:
    console.run("ALTER ROLE {} SET default_transaction_read_only = on", console.user)
    provider = connect()
    with pytest.raises(Unavailable, match="standby"):
        provider.set(provider.generate())


def test_a_password_that_works_without_the_database_is_alive(connect: Connect, console: Admin) -> None:
    material = set_new(connect())
    answer = connect(database="nowhere").authenticate(material)
    assert (answer.verdict, answer.alive) == (Verdict.ACCEPTED_LIMITED, True)


def test_too_many_connections_say_nothing_of_a_key(connect: Connect, console: Admin) -> None:
    provider = connect()
    material = set_new(provider)
    console.run("ALTER ROLE {} CONNECTION LIMIT 0", console.names[0])
    assert provider.authenticate(material).verdict is Verdict.INCONCLUSIVE


def test_what_else_the_comment_of_a_role_says_is_kept(connect: Connect, console: Admin) -> None:
    console.run("COMMENT ON ROLE {} IS 'asked for by web'", console.names[0])
    provider = connect()
    material = set_new(provider)
    provider.delete(provider.identify(material))
    told = console.run("SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_authid")
    assert dict(told)[console.names[0]] == "asked for by web"


def test_one_connection_is_shared_and_a_lost_one_is_replaced(connect: Connect, console: Admin) -> None:
    provider = connect()
    threads = [threading.Thread(target=provider.keys) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(console.run("SELECT pid FROM pg_stat_activity WHERE usename LIKE 'rotator\\_%'")) == 1
    console.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'rotator\\_%'")
    assert list(provider.keys()) == []


def test_a_connection_that_has_ended_is_replaced_before_anything_is_changed(connect: Connect, console: Admin) -> None:
    provider = connect()
    material = provider.generate()
    console.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'rotator\\_%'")
    assert provider.set(material) == provider.identify(material), "not a lost answer"


def test_a_question_is_one_statement_in_a_transaction(connect: Connect, console: Admin) -> None:
    console.run("ALTER ROLE {} SET log_statement = 'all'", console.user)
    provider = connect()
    provider.keys()
    before = console.server.log
    provider.keys()
    said = re.findall(r"(?:statement|execute [^:]*): (\w+)", console.server.log.removeprefix(before))
    assert said == ["BEGIN", "SELECT", "COMMIT"]


def test_no_slow_hash_is_made_of_a_password_that_nobody_can_guess(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("hashlib.scrypt")
    provider = connect()
    material = provider.generate()
    assert provider.set(material) == provider.identify(material)


@pytest.mark.parametrize("roles", [(), ("a", "a"), ("a", "b", "c"), ("",), ("x" * 64,)])
def test_roles_are_one_or_two_names(roles: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        RoleOptions(roles=roles)

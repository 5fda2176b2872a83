"""`diff` and `plan` on a fleet: what a changed file would do, and what lies ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from rotator.store import tables
from tests.cli.house import CONFIGURATION, House, new_house
from tests.cli.test_looking import valid
from tests.conftest import Canaries

FLEET = 14
DAY = timedelta(days=1)

HEAD = """\
environment: test
engine: {lease: 6s, call_budget: 2s, in_flight: 4}
providers: {local: {type: generated}}
destinations:
  app: {type: env-file, path: app.env}
  other: {type: env-file, path: other/other.env}
defaults: {policy: {grace: 1h, soak: 1h, rotate_every: 90d, jitter: 3d}}
credentials:
"""
ENTRIES = [
    f'  key-{n}: {{provider: local, destinations: [{{to: app, fields: {{KEY_{n}: "{{secret}}"}}}}]}}\n'
    for n in range(FLEET)
]
FILE = HEAD + "".join(ENTRIES)


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """The folder of an installation whose fourteen credentials have a key each. No test rotates them."""
    house = new_house(tmp_path_factory.mktemp("fleet") / "house", template, Canaries())
    house.write(FILE)
    assert house.rotate("--quiet").status == 0
    return house.folder


@pytest.fixture
def fleet(rotated: Path, canary: Canaries) -> Iterator[House]:
    """Fourteen credentials that have a key since 30 days."""
    house = House(rotated, canary)
    house.write(FILE)
    aged(house, 30 * DAY)
    yield house
    house.prove_silence()


def aged(house: House, by: timedelta) -> None:
    """Everything on record happened so long ago."""
    with house.opened() as service:
        at = service.store.now() - by
        with service.store.database.write() as connection:
            times = {"created_at": at, "sent_at": at, "issued_at": at, "current_at": at}
            connection.execute(update(tables.version).values(times))
            connection.execute(update(tables.rotation).values(opened_at=at, closed_at=at))


def changed(house: House, *changes: tuple[str, str], text: str = FILE) -> str:
    """A changed file beside the present one."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (house.folder / "new.yaml").write_text(text, encoding="utf-8")
    return "new.yaml"


def lines(house: House, new: str, *options: str) -> list[str]:
    """What is said after the first line, whatever the status."""
    return house.run("diff", "--config", new, *options).out.splitlines()[1:]


STAMPEDE = (
    "~ 14 credentials of local would be rotated within an hour: more than 8 at once; a longer `jitter` or steps in "
    "between spread them"
)
EVERY = ("rotate_every: 90d", "rotate_every: 30d")


def test_a_shorter_period_says_how_many_are_due_and_how_jitter_spreads_them(fleet: House) -> None:
    ran = fleet.run("diff", "--config", changed(fleet, EVERY))
    assert ran.out.splitlines()[0] == "environment test: rotator.yaml → new.yaml"
    (line,) = ran.out.splitlines()[1:]
    assert line.startswith("~ rotate_every 90d→30d: 14 credentials due at once, spread over 3 d by jitter")
    assert ran.status == 0
    before = fleet.events()
    fleet.run("diff", "--config", "new.yaml")
    assert fleet.events() == before


def test_a_stampede_is_counted_by_provider_and_ends_with_1(fleet: House) -> None:
    aged(fleet, 40 * DAY)
    new = changed(fleet, EVERY)
    ran = fleet.run("diff", "--config", new)
    assert ran.status == 1
    assert ran.out.splitlines()[1:] == ["~ rotate_every 90d→30d: 14 credentials due at once", STAMPEDE]
    assert "too many would be rotated at once: 1 change above (stampede)" in ran.err
    assert fleet.run("diff", "--config", new, "--most", "14").status == 0
    told = fleet.run("diff", "--config", new, "--json").json
    assert (told["safe"], told["changes"][-1]["danger"]) == (False, "stampede")
    valid([told], "diff")
    fleet.write((fleet.folder / new).read_text(encoding="utf-8"))
    planned = fleet.run("plan", "--days", "1", "--json").json
    assert planned["crowds"][0]["rotations"] == 14  # what `diff` said is what `plan` sees then
    assert fleet.run("diff", "--config", new).status == 0  # and nothing is new about it any more


def test_one_that_is_due_is_said_by_its_name(fleet: House) -> None:
    aged(fleet, 40 * DAY)
    new = changed(fleet, ("key-3: {provider: local", "key-3: {provider: local, policy: {rotate_every: 30d}"))
    assert lines(fleet, new) == ["~ key-3: rotate_every 90d→30d: due at once"]
    new = changed(fleet, ("key-3: {provider: local", "key-3: {provider: local, policy: {rotate_every: 60d}"))
    (line,) = lines(fleet, new)
    assert line.startswith("~ key-3: rotate_every 90d→60d: next rotation 20")


def without(*numbers: int) -> str:
    return HEAD + "".join(entry for n, entry in enumerate(ENTRIES) if n not in numbers)


def taken_out(house: House) -> str:
    return changed(house, text=without(2))


def dropped(house: House) -> str:
    return changed(house, ('[{to: app, fields: {KEY_2: "{secret}"}}]', '[{to: other, fields: {KEY_2: "{secret}"}}]'))


def renamed(house: House) -> str:
    return changed(house, ("key-2: {provider", "site: {moved_from: key-2, provider"))


def added(house: House) -> str:
    return changed(house, text=FILE + ENTRIES[2].replace("key-2", "extra").replace("KEY_2", "EXTRA"))


def other_account(house: House) -> str:
    more = "providers: {hand: {type: manual}, local: "
    options = "key-2: {provider: hand, options: {instructions: make one}"
    return changed(house, ("providers: {local: ", more), ("key-2: {provider: local", options))


def same_account(house: House) -> str:
    more = "providers: {here: {type: generated}, local: "
    return changed(house, ("providers: {local: ", more), ("key-2: {provider: local", "key-2: {provider: here"))


def fields(house: House) -> str:
    return changed(house, ("{KEY_2: ", "{KEY_TWO: "))


def limits(house: House) -> str:
    return changed(house, ("in_flight: 4", "in_flight: 2"), ("environment: test", "environment: prod"))


OTHER_ACCOUNT = (
    "~ key-2: provider local→hand: 1 living key of local cannot be taken away by hand, and everything waits "
    "(wrong_account)"
)
SERVED = "it serves version 1, which is not taken away before `rotator forget key-2 --destination app`"

CASES: dict[str, tuple[Callable[[House], str], int, list[str]]] = {
    "a credential is taken out": (taken_out, 1, ["- key-2: 1 living key becomes unmanaged"]),
    "a place is dropped, another added": (
        dropped,
        1,
        [
            "~ key-2: destination env-file:HOUSE/other/other.env added: it is given the current key at once",
            f"~ key-2: destination env-file:HOUSE/app.env dropped: {SERVED}",
        ],
    ),
    "a credential is renamed": (renamed, 0, ["~ site: called key-2 before: keeps its keys and history"]),
    "a credential is new": (
        added,
        0,
        ["+ extra: will be issued its first key: where a value stands at a destination already, it asks first"],
    ),
    "the provider is another": (
        other_account,
        1,
        ["~ provider hand is new", OTHER_ACCOUNT, "~ key-2: options.instructions none→make one"],
    ),
    "the provider has another name": (
        same_account,
        0,
        ["~ provider here is new", "~ key-2: provider local→here: the same account under another name"],
    ),
    "a field has another name": (
        fields,
        0,
        ["~ key-2: fields of env-file:HOUSE/app.env changed: from the next rotation on"],
    ),
    "the installation": (
        limits,
        0,
        ["~ environment test→prod: a database of another environment is refused", "~ engine.in_flight 4→2"],
    ),
    "nothing": (changed, 0, ["nothing changes"]),
}


def test_what_each_change_would_do_is_said(fleet: House) -> None:
    for name, (change, status, expected) in CASES.items():
        ran = fleet.run("diff", "--config", change(fleet))
        said = [line.replace(str(fleet.folder), "HOUSE") for line in ran.out.splitlines()[1:]]
        assert (said, ran.status) == (expected, status), name


def test_a_rename_that_cannot_be_is_said_before_it_is_tried(house: House) -> None:
    house.rotate()
    house.rotate("--now", "web")  # its old key is in its grace
    new = changed(
        house,
        ("providers: {local: ", "providers: {here: {type: generated}, local: "),
        ("  web:\n    provider: local", "  site:\n    moved_from: web\n    provider: here"),
        text=CONFIGURATION,
    )
    ran = house.run("diff", "--config", new)
    assert ran.status == 1
    assert "~ site: cannot take over from web: web cannot be called site yet: it has work open at the" in ran.out


NO_PROVIDER = "provider: no provider is called `spare`"


def test_what_could_not_be_finished_any_more_is_said(house: House) -> None:
    house.change("{local: {type: generated}}", "{local: {type: generated}, spare: {type: generated}}")
    house.change("  mail:\n    provider: local", "  mail:\n    provider: spare")
    house.rotate()
    house.rotate("--now", "mail")
    text = (house.folder / "rotator.yaml").read_text(encoding="utf-8")
    text = text[: text.index("  mail:")].replace(", spare: {type: generated}", "")
    ran = house.run("diff", "--config", changed(house, text=text))
    assert ran.out.splitlines()[1:] == [
        "~ provider spare is taken out",
        f"- mail: 2 living keys become unmanaged: what is open cannot be finished ({NO_PROVIDER})",
    ]
    assert ran.status == 1


def test_without_the_database_the_files_alone_are_compared(house: House) -> None:
    house.write(FILE)
    (house.folder / "rotator.db").unlink()
    new = changed(house, EVERY, text=without(2))
    ran = house.run("diff", "--config", new, "--no-database")
    assert ran.out.splitlines() == [
        "environment test: rotator.yaml → new.yaml; the database was not looked at",
        "- key-2: taken out; its living keys become unmanaged",
        "~ rotate_every 90d→30d: 13 credentials",
    ]
    assert ran.status == 1
    valid([house.run("diff", "--config", new, "--no-database", "--json").json], "diff")
    assert house.run("diff", "--config", new).status == 2  # no such database


def test_a_server_that_is_another_is_not_the_same_place(house: House) -> None:
    vault = "{type: vault-kv, address: 'https://one.example:8200', auth: {method: token, token: env:NOT_SET}}"
    text = FILE.replace("destinations:\n", f"destinations:\n  vault: {vault}\n")
    text = text.replace('[{to: app, fields: {KEY_2: "{secret}"}}]', "[{to: vault, path: web}]")
    house.write(text)
    new = changed(house, ("one.example", "two.example"), text=text)
    first, there, dropped = lines(house, new, "--no-database")
    assert first == "~ destination vault: address changed"
    assert there == "~ key-2: destination vault:secret/web on another server added"
    assert dropped.startswith("~ key-2: destination vault:secret/web on the former server dropped: ")


def test_what_is_wrong_in_either_file_is_told_at_once(house: House) -> None:
    house.change("{type: generated}", "{type: generatde}")
    (house.folder / "new.yaml").write_text("credentials: {web: {provider: nobody}}\n", encoding="utf-8")
    ran = house.run("diff", "--config", "new.yaml")
    assert ran.status == 2
    assert "rotator.yaml:3: providers.local.type: " in ran.err
    assert "new.yaml:1: credentials.web.provider: " in ran.err
    assert house.run("diff", "--config", "nowhere.yaml").status == 2
    assert house.run("diff").status == 2


# plan


def test_the_plan_shows_what_comes_and_names_crowds_and_busy_days(fleet: House) -> None:
    fleet.change("jitter: 3d", "jitter: 0s")
    before = fleet.events()
    told = fleet.run("plan", "--days", "90", "--json").json
    valid([told], "plan")
    (crowd,) = told["crowds"]
    assert (crowd["provider"], crowd["rotations"], crowd["in_flight"]) == ("local", 14, 4)
    (day,) = told["busy_days"]
    assert (day["day"], day["rotations"]) == (crowd["since"][:10], 14)
    (rotation,) = told["credentials"][0]["rotations"]
    assert (rotation["version"], rotation["replaces"], rotation["living"]) == (2, [1], 2)
    assert fleet.run("plan", "--days", "90", "--busy", "14", "--json").json["busy_days"] == []
    ran = fleet.run("plan", "key-3", "--days", "90")
    assert ran.status == 0
    heads, row = ran.out.splitlines()[1:]
    assert " ".join(heads.split()) == "BEGINS CREDENTIAL VERSION WHY OLD KEY WORKS UNTIL OLD KEY IS GONE NOTES"
    assert row.startswith(rotation["begins_at"][:10])
    assert row.split()[3:6] == ["key-3", "2", "schedule"]
    assert fleet.events() == before
    assert "no rotation is to come in this time" in fleet.run("plan", "key-3", "--days", "2").out


def test_the_plan_says_what_is_open_what_is_held_and_what_waits_for_a_person(house: House) -> None:
    assert house.run("plan", "--days", "1").out.count("at once") == 2  # nothing was ever rotated
    house.rotate()
    house.rotate("--now", "web")
    house.run("pause", "mail", "--for", "40d", "--reason", "freeze")
    told = house.run("plan", "--days", "50", "--json").json
    valid([told], "plan")
    mail, web = told["credentials"]
    (wait,) = mail["waits"]
    assert (wait["reason"], wait["remedy"]) == ("paused", "`rotator unpause mail`")
    (rotation,) = mail["rotations"]
    assert [hold["reason"] for hold in rotation["holds"]] == ["paused"]
    assert rotation["begins_at"] == wait["until"]
    assert [key["version"] for key in web["old_keys"]] == [1, 2]
    assert web["old_keys"][0]["key_id"].startswith("gen-")
    said = house.run("plan", "--days", "50").out
    assert "web: version 1 (gen-" in said
    assert "mail waits until 20" in said
    house.change("rotate_every: 30d", "jitter: 0s")
    assert "web waits: rotated only by hand: no rotate_every and no cron (by_hand)" in house.run("plan").out


def test_the_plan_says_which_keys_a_person_makes_and_takes_away(house: House) -> None:
    house.change("{local: {type: generated}}", "{local: {type: manual}}")
    house.change("    labels: {team: web}", "    options: {instructions: make one}")
    house.change("    labels: {team: mail}", "    options: {instructions: make one}")
    told = house.run("plan", "web", "--days", "40", "--json").json
    valid([told], "plan")
    (web,) = told["credentials"]
    assert [wait["reason"] for wait in web["waits"]] == ["awaiting_human", "awaiting_human"]
    assert [wait["until"] for wait in web["waits"]] == [rotation["supply_by"] for rotation in web["rotations"]]
    assert [key["deleted_at"] for key in web["old_keys"]] == [None]
    said = house.run("plan", "web", "--days", "40").out
    assert "a person makes the key, by 20" in said
    assert "by a person" in said
    assert "(awaiting_human). To do: `rotator supply web` takes it." in said


def test_the_plan_says_that_nothing_comes_for_what_was_taken_out(house: House) -> None:
    house.rotate()
    house.rotate("--now", "mail")
    text = (house.folder / "rotator.yaml").read_text(encoding="utf-8")
    house.write(text[: text.index("  mail:")])
    house.rotate("--quiet")
    mail = house.run("plan", "mail", "--json").json["credentials"][0]
    assert ([wait["reason"] for wait in mail["waits"]], mail["rotations"]) == (["unmanaged"], [])
    assert [key["version"] for key in mail["old_keys"]] == [1]  # what is open is finished
    web = house.run("plan", "--json").json["credentials"][1]
    assert (web["name"], web["waits"]) == ("web", [])


def test_the_plan_shows_a_rotation_that_is_under_way_and_one_that_is_blocked(house: House) -> None:
    house.rotate()
    with house.locked():
        house.rotate("--now", "web", "--timeout", "1s")
        assert states(house) == ["rotating", "planned"]
    (house.folder / "app.env").write_text("WEB=a-value-of-somebody-else-0123456789\n", encoding="utf-8")
    house.rotate("--now", "web", "--timeout", "5s")
    assert states(house) == ["blocked"]
    assert "To do: `rotator" in house.run("plan", "web").out


def states(house: House) -> list[Any]:
    (web,) = house.run("plan", "web", "--json", "--days", "31").json["credentials"]
    return [rotation["state"] for rotation in web["rotations"]]

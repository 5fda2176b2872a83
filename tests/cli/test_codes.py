"""Every error ends with its code, and `rotator help` explains every code."""

from __future__ import annotations

import re
import tomllib

import pytest

from rotator.cli.reasons import advice, documented
from rotator.domain.errors import code
from tests.cli.house import ROOT, House, Ran
from tests.docs import source


def explained(house: House, ran: Ran) -> str:
    """The code that an error ends with; what it names as the place for more is there."""
    last = ran.err.rstrip().splitlines()[-1]
    told = re.fullmatch(r"More: rotator (help (E-[A-Z-]+))", last)
    assert told is not None, ran.err
    help_ = house.run(*told[1].split())
    assert help_.status == 0
    assert help_.out.startswith(f"{told[2]}: ")
    assert "\nTo do: " in help_.out
    return told[2]


def test_every_reason_of_the_code_has_its_help() -> None:
    assert sorted(documented()) == sorted(source.reasons())
    for reason in documented().values():
        assert reason.about
        assert reason.meaning
        assert reason.remedy


def test_an_installed_package_has_the_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["docs/reasons.md"] == "rotator/reasons.md"


def test_each_error_ends_with_its_code(house: House) -> None:
    assert explained(house, house.run("status", "--no-such-option")) == "E-USAGE"
    assert explained(house, house.run("explain", "nobody")) == "E-UNKNOWN-CREDENTIAL"
    assert explained(house, house.run("status", "--config", "none.yaml")) == "E-NO-CONFIGURATION"
    assert explained(house, house.run("status", "-l", "team=none")) == "E-NO-MATCH"
    assert explained(house, house.run("supply", "web", "--stdin", stdin="x")) == "E-NOTHING-TO-DO"
    (house.folder / "app.env").write_text("WEB=somebody-elses\n", encoding="utf-8")
    assert explained(house, house.rotate("--now", "web")) == "E-NOT-ADOPTED"
    house.change("grace: 1h", "grease: 1h")
    assert explained(house, house.run("check")) == "E-BAD-CONFIGURATION"
    (house.folder / "rotator.yaml").write_bytes(b"\xff")
    assert explained(house, house.run("check")) == "E-BAD-CONFIGURATION"


def test_each_failed_check_has_its_code_and_a_remedy(house: House) -> None:
    (house.folder / "other").rmdir()
    (house.folder / "rotator.key").unlink()
    ran = house.run("check")
    told = [row for row in house.run("check", "--json").json["checks"] if row["outcome"] != "ok"]
    assert {row["reason"] for row in told} >= {"no_credential", "no_such_folder"}
    assert all(row["remedy"] for row in told)
    assert ran.err.count("To do: ") == ran.err.count("More: rotator help E-") == len(told)


def test_where_an_error_says_no_remedy_the_page_does() -> None:
    assert advice("database_unavailable") == "start it"
    assert advice("setup") is None
    assert advice("no such reason") is None


@pytest.mark.parametrize("given", ["E-WRONG-SEALING-KEY", "e-wrong-sealing-key", "wrong_sealing_key"])
def test_help_takes_the_code_and_the_reason(house: House, given: str) -> None:
    ran = house.run("help", given)
    meaning = documented()["wrong_sealing_key"].meaning
    assert ran.out.startswith(f"E-WRONG-SEALING-KEY: {meaning}\nTo do: ")
    assert "it is the reason wrong_sealing_key" in ran.out
    assert code("wrong_sealing_key") == "E-WRONG-SEALING-KEY"


def test_help_lists_the_codes_and_knows_the_nearest(house: House) -> None:
    listed = house.run("help").out
    assert all(f"  {code(reason)} " in listed for reason in documented())
    ran = house.run("help", "E-DRFT")
    assert ran.status == 2
    assert "there is no code E-DRFT; did you mean E-DRIFT?" in ran.err
    assert house.run("help", "drift").out == house.run("drift", "--help").out

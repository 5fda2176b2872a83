"""`rotate --rehearse`: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import pytest

from tests.cli.house import House


def test_each_step_is_printed_with_its_time_and_nothing_is_left(house: House) -> None:
    house.rotate()
    before, files = house.values(), sorted(path.name for path in house.folder.iterdir())
    ran = house.rotate("--rehearse", "web", "--reason", "before the holidays")
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert "app.env.rehearsal-" in next(line for line in lines if "push.started" in line)
    table = [line.split() for line in lines[lines.index("STEP          SECONDS  AT EACH PLACE") + 1 :]]
    assert [row[0] for row in table[:7]] == ["create", "authenticate", "push", "verify", "remove", "drain", "delete"]
    assert all(float(row[1]) >= 0 for row in table[:7])
    assert "web: a new key would be current everywhere after" in ran.out
    assert "nothing is left of the rehearsal" in lines[-1]
    assert house.values() == before
    assert sorted(path.name for path in house.folder.iterdir()) == files
    (told,) = [event for event in house.events() if event["event"] == "rehearsal.started"]
    assert (told["actor"], told["detail"]["because"]) == ("cli:ann@test", "before the holidays")
    assert "Last rehearsed 20" in house.run("explain", "web").out
    house.prove_silence()


def test_json_ends_with_the_times_of_the_steps(house: House) -> None:
    house.rotate()
    ran = house.rotate("--rehearse", "web", "--json")
    assert ran.status == 0
    result = ran.lines[-1]["result"]
    assert result["credentials"][0]["name"] == "web"
    rehearsed = result["rehearsal"]
    assert rehearsed["succeeded"]
    assert (rehearsed["left"], rehearsed["failed_at"]) == ([], None)
    assert rehearsed["current_after_seconds"] < rehearsed["dead_after_seconds"]
    assert [step["step"] for step in rehearsed["steps"]][:3] == ["create", "authenticate", "push"]
    house.prove_silence()


def test_the_leak_drill_is_on_record_and_status_says_when(house: House) -> None:
    house.rotate()
    assert house.run("status", "web", "--json").json["credentials"][0]["drilled_at"] is None
    ran = house.rotate("--rehearse", "--compromised", "web", "--json")
    assert ran.status == 0
    figures = ran.lines[-1]["result"]["rehearsal"]
    assert figures["dead_after_seconds"] is not None
    (told,) = [event for event in house.events() if event["event"] == "rehearsal.started"]
    assert told["detail"]["drill"] is True
    drilled = {one["name"]: one["drilled_at"] for one in house.run("status", "--json").json["credentials"]}
    assert drilled["mail"] is None
    assert drilled["web"] is not None
    assert f"{drilled['web'][:16].replace('T', ' ')} UTC" in house.run("status").out
    assert house.values()["WEB"]


def test_it_says_what_failed_and_that_nothing_is_left(house: House) -> None:
    house.rotate()
    (house.folder / "app.env").write_text("WEB=what-somebody-else-has-put-there\n")
    ran = house.rotate("--rehearse", "web")
    assert ran.status == 1
    assert "web: the rehearsal failed at create:" in ran.err
    assert "(foreign)" in ran.err
    assert "nothing is left of the rehearsal" in ran.out
    assert "it failed (foreign)" in house.run("explain", "web").out
    assert house.values() == {"WEB": "what-somebody-else-has-put-there"}


def test_it_says_what_is_left_and_the_next_pass_takes_it_away(house: House) -> None:
    house.rotate()
    before = sorted(path.name for path in house.folder.iterdir())
    with house.locked():
        ran = house.rotate("--rehearse", "web", "--timeout", "1s")
    assert ran.status == 1
    assert "web: it is open, and planned: " in ran.err
    assert "the next pass goes on taking it away: `rotate web`" in ran.err
    assert house.rotate("web").status == 0
    assert sorted(path.name for path in house.folder.iterdir()) == before


def test_a_forecast_touches_nothing(house: House) -> None:
    assert "web: would not be rehearsed: it has no key yet" in house.rotate("--rehearse", "web", "--dry-run").out
    house.rotate()
    events = len(house.events())
    ran = house.rotate("--rehearse", "web", "--dry-run")
    assert ran.status == 0
    assert "would create a key at local, write it beside env-file:" in ran.out
    house.run("pause", "web", "--reason", "launch")
    assert "would not be rehearsed: paused by" in house.rotate("--rehearse", "web", "--dry-run").out
    ran = house.rotate("--rehearse", "web")
    assert (ran.status, "web is paused by cli:ann@test" in ran.err) == (1, True)
    assert len(house.events()) == events + 1


@pytest.mark.parametrize(
    "wrong",
    [
        ["--now"],
        ["--end-soak"],
        ["--request"],
        ["--all"],
        ["-l", "team=web"],
        ["mail"],
        ["--linger", "1s"],
    ],
)
def test_it_goes_with_one_name_and_with_nothing_that_changes_what_is_current(house: House, wrong: list[str]) -> None:
    ran = house.rotate("--rehearse", "web", *wrong)
    assert ran.status == 2
    assert "--rehearse goes with" in ran.err

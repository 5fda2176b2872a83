"""Every event says how it is known who acted."""

from __future__ import annotations

import os

from rotator.wiring import proved
from tests.cli.house import House


def test_a_name_from_the_environment_is_what_somebody_said(house: House) -> None:
    house.run("pause", "web", "--reason", "the fair")
    event = house.events()[-1]
    assert event["actor"] == "cli:ann@test"
    assert event["detail"]["proved"] == {"by": "environment", "uid": os.getuid()}
    assert event["detail"]["because"] == "the fair"


def test_without_one_it_is_the_user_of_the_process(house: House) -> None:
    house.run("pause", "web", "--reason", "the fair", env={"ROTATOR_ACTOR": "", "SUDO_USER": ""})
    event = house.events()[-1]
    assert event["actor"].startswith("cli:")
    assert event["detail"]["proved"] == {"by": "process", "uid": os.getuid()}


def test_what_a_worker_does_for_somebody_else_says_who_recorded_it(house: House) -> None:
    assert house.rotate().status == 0
    house.run(
        "rotate", "--now", "web", "--request", "--reason", "r", "--timeout", "0s", env={"ROTATOR_ACTOR": "cli:bob@test"}
    )
    asked = next(event for event in house.events() if event["event"] == "request.started")
    assert asked["detail"]["proved"]["by"] == "environment"
    house.rotate()
    done = next(event for event in house.events() if event["event"] == "request.succeeded")
    assert done["actor"] == "cli:bob@test"
    assert done["detail"]["proved"] == {"by": "request", "recorded_by": "cli:ann@test"}


def test_only_root_can_be_there_by_sudo() -> None:
    by = "sudo" if os.getuid() == 0 else "environment"
    assert proved({"SUDO_USER": "ann"})["by"] == by
    assert proved({"SUDO_USER": "ann", "ROTATOR_ACTOR": "x"})["by"] == "environment"

"""What the commands say about the readers of a place: whose need the grace follows, and readers whom nobody tells."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.house import House

ENTRY = '{to: app, fields: {WEB: "{secret}"}}'


def of_places(told: dict[str, Any]) -> list[dict[str, Any]]:
    """What `check` says of destinations."""
    return [found for found in told["checks"] if found["check"] == "destination"]


def with_keys(house: House, keys: str) -> None:
    house.change(ENTRY, ENTRY.replace("}}", f"}}, {keys}}}"))


def test_policy_says_whose_need_the_grace_follows(house: House) -> None:
    with_keys(house, "readers: poll 30m, propagation: 1h")
    grace = house.run("policy", "web", "--json").json["policy"]["grace"]
    assert grace == {"value": "1h30m", "from": "destinations, rotator.yaml:12: raised from 1h, for its readers"}
    assert "raised from 1h, for its readers" in house.run("policy", "web").out
    assert house.run("policy", "mail", "--json").json["policy"]["grace"]["value"] == "1h"


@pytest.mark.parametrize("readers", ["reload", "restart"])
def test_check_warns_of_readers_whom_nobody_tells(house: House, readers: str) -> None:
    with_keys(house, f"readers: {readers}")
    ran = house.run("check", "web", "--json")
    assert ran.status == 0
    (warning,) = [found for found in of_places(ran.json) if found["outcome"] == "warning"]
    assert (warning["subject"], warning["reason"]) == (f"env-file:{house.folder / 'app.env'}", "readers_untold")
    assert "reload" in warning["remedy"]


@pytest.mark.parametrize("keys", ["readers: poll 60s", "propagation: 10m"])
def test_readers_that_look_by_themselves_are_no_warning(house: House, keys: str) -> None:
    with_keys(house, keys)
    found = of_places(house.run("check", "web", "--json").json)
    assert {one["outcome"] for one in found} == {"ok"}

"""`rotator check` warns of places from which a key reaches more than its readers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from rotator.cli.exposure import names
from rotator.config import Target
from tests.cli.house import House


def warned(house: House) -> dict[str, Any]:
    """Reason → finding, of what the check of exposure found."""
    checks = house.run("check", "--json").json["checks"]
    return {check["reason"]: check for check in checks if check["check"] == "exposure"}


def test_a_place_that_only_its_readers_see_is_not_warned_of(house: House) -> None:
    house.rotate()
    assert warned(house) == {}


@pytest.mark.parametrize("name", ["NEXT_PUBLIC_KEY", "VITE_API_KEY", "REACT_APP_SECRET", "EXPO_PUBLIC_X"])
def test_a_name_that_bundlers_publish(name: str) -> None:
    target = Target(to="vault", path="web", templates={name: "{secret}", "OTHER": "{secret}"}, position=0)
    (found,) = names("web", target)
    assert (found.credential, found.outcome, found.reason) == ("web", "warning", "public_name")
    assert f"variables named like {name}" in found.message
    assert "keep it on a server" in str(found.remedy)


def test_a_name_that_holds_no_secret_may_be_published() -> None:
    target = Target(to="vault", path="web", templates={"WEB": "{secret}", "VITE_KEY": "{fingerprint}"}, position=0)
    assert list(names("web", target)) == []


@pytest.mark.parametrize("folder", ["public", "static/js", "android/app/src/main/assets"])
def test_a_folder_that_is_delivered(house: House, folder: str) -> None:
    (house.folder / folder).mkdir(parents=True)
    house.change("path: app.env", f"path: {folder}/app.env")
    assert warned(house).keys() == {"public_folder"}


def test_a_file_that_everybody_may_read(house: House) -> None:
    house.rotate()
    (house.folder / "app.env").chmod(0o644)
    found = warned(house)["world_readable"]
    assert "chmod o= " in found["remedy"]


def test_a_file_that_was_committed_once(house: House) -> None:
    house.rotate()

    def git(*command: str) -> None:
        ours = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        subprocess.run(["git", *ours, *command], cwd=house.folder, check=True, capture_output=True)

    git("init", "--quiet")
    (house.folder / ".gitignore").write_text("*\n")
    assert warned(house) == {}
    git("add", "--force", "app.env")
    git("commit", "--quiet", "--message", "a mistake")
    git("rm", "--cached", "--quiet", "app.env")
    git("commit", "--quiet", "--message", "mended, as they believe")
    found = warned(house)["committed"]
    assert "in the history of its git repository" in found["message"]
    scan = found["remedy"].partition("`")[2].partition("`")[0].split()
    ran = house.run(*scan[1:])
    assert "app.env" in ran.out, ran.said
    assert Path(scan[-1]) == house.folder

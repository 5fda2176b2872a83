"""Other people's servers in trouble: a clear message, a remedy, and nothing changed."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rotator.testbed.openbao import OpenBao
from tests.engine.conftest import OpenAIWeb
from tests.engine.place import Place, dotenv_value


def refused(web: OpenAIWeb) -> dict[str, Any]:
    """`rotate --now` does not come about; what the user sees of it."""
    made = len(web.emulator.creates)
    before = [web.value(0), web.value(1)] if web.works(0) is not None else None
    assert not web.place.rotate("web", now=True, patience=6)["web"].completed
    assert len(web.emulator.creates) == made, "no key was made"
    if before is not None:
        assert [web.value(0), web.value(1)] == before
    status = web.place.status("web")
    assert status["message"]
    return status


def test_an_unreachable_vault_is_named(web_embedded: OpenAIWeb) -> None:
    web_embedded.place.rotate()
    with web_embedded.vault_gate.down():
        status = refused(web_embedded)
    assert status["reason"] == "unreachable"
    assert web_embedded.vault_gate.url in status["message"]


def test_a_sealed_vault_is_told_as_such(web_embedded: OpenAIWeb, openbao: OpenBao) -> None:
    web = web_embedded
    web.place.rotate()
    openbao.seal()
    try:
        assert not web.place.rotate("web", now=True, patience=1)["web"].completed
        status = web.place.status("web")
    finally:
        openbao.unseal()
    assert status["reason"] == "vault_sealed"
    assert "unseal" in status["remedy"]
    assert len(web.emulator.creates) == 1
    assert web.place.rotate("web", now=True)["web"].completed, "it goes on by itself once unsealed"


def test_a_wrong_vault_token_waits_for_a_person(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    (web.place.folder / "token").write_text("wrong")
    status = refused(web)
    assert (status["status"], status["reason"]) == ("blocked", "token_rejected")
    assert "rotator resume web" in status["remedy"]
    (web.place.folder / "token").write_text(web.bao.token)
    assert web.place.rotate("web", now=True)["web"].completed, "--now tries a block once more"


def test_a_missing_permission_is_named_with_the_path(web_embedded: OpenAIWeb) -> None:
    web = web_embedded
    web.place.rotate()
    made = web.client.auth.token.create(policies=["default"], ttl="1h")
    (web.place.folder / "token").write_text(made["auth"]["client_token"])
    status = refused(web)
    assert (status["status"], status["reason"]) == ("blocked", "missing_permission")
    assert web.paths[0] in status["message"] + status["remedy"]


def test_an_expired_admin_key_is_told(web_embedded: OpenAIWeb) -> None:
    web_embedded.place.rotate()
    web_embedded.emulator.admin_key_state = "expired"
    status = refused(web_embedded)
    assert (status["status"], status["reason"]) == ("blocked", "admin_key_rejected")


def test_an_admin_key_that_may_only_read_is_told_before_a_key_exists(web_embedded: OpenAIWeb) -> None:
    web_embedded.place.rotate()
    web_embedded.emulator.admin_key_state = "read_only"
    status = web_embedded.place.status("web")
    live = web_embedded.live()
    assert not web_embedded.place.rotate("web", now=True, patience=6)["web"].completed
    status = web_embedded.place.status("web")
    assert (status["status"], status["reason"]) == ("blocked", "access_denied")
    assert web_embedded.live() == live


def test_an_archived_project_is_told(web_embedded: OpenAIWeb) -> None:
    web_embedded.place.rotate()
    web_embedded.emulator.project_archived = True
    status = refused(web_embedded)
    assert (status["status"], status["reason"]) == ("blocked", "project_archived")


def session(place: Place, path: Path) -> None:
    place.write(
        providers={"local": {"type": "generated", "prefix": "CANARY-"}},
        destinations={"env": {"type": "env-file", "path": str(path)}},
        credentials={"session": {"provider": "local", "destinations": [{"to": "env"}]}},
    )


def test_an_env_file_in_a_missing_folder_is_refused_before_anything_is_made(embedded: Place) -> None:
    session(embedded, embedded.folder / "missing" / "web.env")
    embedded.rotate(patience=6)
    status = embedded.status("session")
    assert (status["status"], status["reason"]) == ("blocked", "no_such_folder")
    assert "create.started" not in embedded.told()
    assert not (embedded.folder / "missing").exists()


def test_a_full_disk_leaves_the_old_file_and_goes_on_when_there_is_room(
    embedded: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = embedded.folder / "web.env"
    path.write_text("# kept\nOTHER=1\n")
    session(embedded, path)
    embedded.rotate()
    before = path.read_bytes()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("rotator.access.folder.os.write", full)
        assert not embedded.rotate("session", now=True, patience=1)["session"].completed
    assert path.read_bytes() == before
    assert [p.name for p in embedded.folder.glob(".*")] == []
    status = embedded.status("session")
    assert status["rotation"]["deliveries"][0]["reason"] == "disk_full"
    value = dotenv_value(path, "SESSION")
    embedded.rotate(patience=5)
    assert dotenv_value(path, "SESSION") != value
    assert path.read_text().startswith("# kept\nOTHER=1\n")


def test_a_file_that_git_tracks_is_refused_before_anything_is_made(embedded: Place) -> None:
    path = embedded.folder / "web.env"
    path.write_text("OTHER=1\n")
    for command in ("init -q", "add web.env"):
        assert os.system(f"git -C {embedded.folder} {command}") == 0
    session(embedded, path)
    embedded.rotate(patience=6)
    status = embedded.status("session")
    assert (status["status"], status["reason"]) == ("blocked", "tracked_by_git")
    assert "create.started" not in embedded.told()


def test_an_empty_assignment_is_a_place_to_fill(embedded: Place) -> None:
    path = embedded.folder / "web.env"
    path.write_text("SESSION=\nOTHER=1\n")
    session(embedded, path)
    embedded.rotate()
    assert dotenv_value(path, "SESSION")
    assert path.read_text().endswith("\nOTHER=1\n")

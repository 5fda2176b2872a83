"""deploy/policies/vault.hcl: with exactly it everything works, and without any part of it something named fails."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.destinations.vault_kv import VaultKV, VaultPlace
from rotator.domain.errors import AccessDenied
from rotator.domain.secret import Secret
from rotator.testbed.openbao import OpenBao

POLICY = (Path(__file__).parents[2] / "deploy" / "policies" / "vault.hcl").read_text()
_LINE = re.compile(r'^path "(?P<path>[^"]+)" \{ capabilities = \[(?P<capabilities>[^]]+)\] \}$', re.MULTILINE)
RULES = {m["path"]: tuple(re.findall(r'"(\w+)"', m["capabilities"])) for m in _LINE.finditer(POLICY)}
_number = itertools.count()


def first_write(place: VaultPlace) -> None:
    place.write({"KEY": Secret("one")}, place.read().revision, "t")


def later_write(place: VaultPlace) -> None:
    place.kv.server.close()
    place.write({"KEY": Secret("two")}, place.read().revision, "t")


def read(place: VaultPlace) -> None:
    place.read()


def rehearse(place: VaultPlace) -> None:
    shadow = place.shadow("0a1b2c3d")
    shadow.write({"KEY": Secret("shadow")}, shadow.read().revision, "t")
    shadow.read()
    shadow.remove()


STEPS: dict[str, Callable[[VaultPlace], None]] = {
    "read": read,
    "first write": first_write,
    "later write": later_write,
    "rehearse": rehearse,
}


def failing(bao: OpenBao, folder: Path, rules: dict[str, tuple[str, ...]]) -> set[str]:
    """The steps that a token with these rules may not do. Another path for each, so that the first write is one."""
    number = next(_number)
    path = f"policies/{number}/openai"
    text = "\n".join(
        f'path "{at.replace("web/openai", path)}" {{ capabilities = [{", ".join(f"{c!r}" for c in them)}] }}'.replace(
            "'", '"'
        )
        for at, them in rules.items()
    )
    bao.call("PUT", f"sys/policies/acl/least-{number}", {"policy": text})
    token = bao.call("POST", "auth/token/create", {"policies": [f"least-{number}"]})["auth"]["client_token"]
    (folder / "token").write_text(token)
    settings = {"address": bao.url, "mount": "secret", "auth": {"method": "token", "token": "file:token"}}
    kv = VaultKV("vault", VaultKV.Settings.model_validate(settings, context={"folder": folder}), timedelta(seconds=10))
    place = kv.at(path)
    found = set()
    for name, step in STEPS.items():
        if name == "later write" and "first write" in found:  # somebody else has made it
            bao.call("POST", f"secret/data/{path}", {"data": {"KEY": "by hand"}})
        try:
            step(place)
        except AccessDenied:
            found.add(name)
    kv.close()
    return found


def test_the_file_is_understood_whole() -> None:
    lines = [line for line in POLICY.splitlines() if line and not line.startswith("#")]
    assert len(RULES) == len(lines) == 3


def test_with_exactly_it_everything_works(openbao: OpenBao, tmp_path: Path) -> None:
    assert failing(openbao, tmp_path, RULES) == set()


EXPECTED = {
    ("secret/data/web/openai", "create"): {"first write"},
    ("secret/data/web/openai", "read"): {"read", "first write", "later write"},
    ("secret/data/web/openai", "update"): {"later write"},
    ("secret/data/web/openai.rehearsal-*", "create"): {"rehearse"},
    ("secret/data/web/openai.rehearsal-*", "read"): {"rehearse"},
    ("secret/metadata/web/openai.rehearsal-*", "delete"): {"rehearse"},
}


def test_every_part_has_its_use() -> None:
    assert set(EXPECTED) == {(path, capability) for path, them in RULES.items() for capability in them}


@pytest.mark.parametrize(("path", "capability"), EXPECTED)
def test_without_a_part_something_named_fails(openbao: OpenBao, tmp_path: Path, path: str, capability: str) -> None:
    left = {p: tuple(c for c in them if (p, c) != (path, capability)) for p, them in RULES.items()}
    assert failing(openbao, tmp_path, {p: c for p, c in left.items() if c}) == EXPECTED[path, capability]

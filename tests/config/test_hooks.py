"""`reload`, `probe` and `wave` of a destination's entry: what they are read as, and what is told about wrong ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from rotator.config import Config, entry_of, json_schema, with_removed
from rotator.domain.model import LAST_WAVE
from rotator.hooks.command import Command
from rotator.hooks.http import Get, Post
from rotator.hooks.signal import Signal
from tests.config.sample import BASE, aws_credential, load_text, problems_with

ENTRIES = """\
      - {to: sm, path: a, wave: 1, reload: {command: [./tell, "v{version}"], env: [KUBECONFIG], stdin: "{secret}"},
         probe: {http: "https://web/healthz", expect: 200}}
      - {to: sm, path: b, wave: 2, reload: {http: "https://web/reload", sign: "env:KEY", ca_file: ca.pem}}
      - {to: sm, path: c, reload: {signal: hup, pidfile: web.pid}, probe: {command: ["true"]}}
      - {to: sm, path: d, reload: {signal: SIGUSR1, systemd: web.service}}
"""


def text(entries: str) -> str:
    return f"{BASE}credentials:\n  key:\n    provider: local\n    destinations:\n{entries}"


def entry(keys: str) -> str:
    return text(f"      - {{to: sm, path: a, {keys}}}\n")


@pytest.fixture
def read(tmp_path: Path) -> Config:
    return load_text(tmp_path, text(ENTRIES))


def test_each_way_is_read_with_its_paths_relative_to_the_file(read: Config, tmp_path: Path) -> None:
    one, two, three, four = read.credentials["key"].destinations
    assert [t.wave for t in (one, two, three, four)] == [1, 2, LAST_WAVE, LAST_WAVE]
    assert read.credentials["key"].policy.waves == 3
    reloads = [t.reload for t in (one, two, three, four)]
    assert [hook.adapter for hook in reloads if hook] == [Command, Post, Signal, Signal]
    assert one.probe is not None
    assert three.probe is not None
    assert (one.probe.adapter, three.probe.adapter) == (Get, Command)
    assert one.reload is not None
    assert one.reload.settings.command == [str(tmp_path / "tell"), "v{version}"]
    assert three.reload is not None
    assert three.reload.settings.signal == "HUP"
    assert three.reload.settings.pidfile == tmp_path / "web.pid"
    assert two.probe is None


def test_a_removed_credential_keeps_its_hooks_and_waves(read: Config) -> None:
    before = read.credentials["key"]
    whole, left_out = with_removed(replace(read, credentials={}), {"key": entry_of(before)})
    assert left_out == {}
    assert whole.credentials["key"].destinations == before.destinations
    assert whole.credentials["key"].policy == before.policy


@pytest.mark.parametrize(
    ("keys", "place", "message", "hint"),
    [
        ("reload: {}", "reload", "names no way: it needs one of `command`, `http`, `signal`", None),
        ("probe: {htpp: x}", "probe", "names no way: it needs one of `command`, `http`", "did you mean `http`?"),
        ("probe: {signal: HUP, systemd: x}", "probe", "names no way", None),
        ("reload: {command: [x], http: 'https://x'}", "reload", "names several ways", None),
        ("reload: x", "reload", "must be a mapping", None),
        ("reload: {command: x}", "reload.command", "must be a list", None),
        ("reload: {command: []}", "reload.command", "has too few entries", None),
        ("reload: {command: [x, '{secret}']}", "reload.command", "a secret is never an argument", None),
        ("reload: {command: [x], stdin: '{secrt}'}", "reload.stdin", "unknown placeholder {secrt}", None),
        ("reload: {command: [x], env: {A: b}}", "reload.env", "must be a list", None),
        ("reload: {command: [x], env: [A=b]}", "reload.env[0]", "is a list of names", None),
        ("reload: {command: [x], shell: true}", "reload.shell", "unknown key", None),
        ("reload: {http: web}", "reload.http", "is not an address", None),
        ("reload: {http: 'https://x', sign: hunter2hunter2}", "reload.sign", "a secret is named", None),
        ("probe: {http: 'https://x', expct: 200}", "probe.expct", "unknown key", "did you mean `expect`?"),
        ("reload: {signal: HUP}", "reload", "either `pidfile` or `systemd`", None),
        ("reload: {signal: KILL, systemd: x}", "reload.signal", "is not the name of a signal", None),
        ("wave: 0", "wave", "must be at least 1", None),
        ("wave: 10", "wave", "must be at most 9", None),
        ("wave: first", "wave", "must be a whole number", None),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, keys: str, place: str, message: str, hint: str | None
) -> None:
    (problem,) = problems_with(tmp_path, entry(keys))
    assert problem.place == f"credentials.key.destinations[0].{place}"
    assert message in problem.message
    assert problem.hint == hint


def test_several_wrong_hooks_are_told_at_once(tmp_path: Path) -> None:
    wrong = entry("reload: {signal: HUP}, probe: {http: web}, wave: 12")
    assert len(problems_with(tmp_path, wrong)) == 3
    assert len(problems_with(tmp_path, wrong.replace("to: sm, ", ""))) == 4


def test_the_schema_knows_them() -> None:
    validator: Any = Draft202012Validator(json_schema())
    assert not list(validator.iter_errors(yaml.safe_load(text(ENTRIES))))
    for keys in ("reload: {}", "reload: {shell: x}", "probe: {signal: HUP, systemd: x}", "wave: 10"):
        assert list(validator.iter_errors(yaml.safe_load(entry(keys)))), keys


def test_the_soaks_of_waves_count_where_a_key_has_to_be_gone_in_time(tmp_path: Path) -> None:
    policy = "policy: {max_age: 30d, rotate_every: 25d, wave_soak: 2d, on_probe_failure: abandon}"
    load_text(tmp_path, text(f"      - {{to: sm, path: a}}\n    {policy}\n"))
    waves = "      - {to: sm, path: a, wave: 1}\n      - {to: sm, path: b, wave: 2}\n      - {to: sm, path: c}\n"
    (problem,) = problems_with(tmp_path, text(f"{waves}    {policy}\n"))
    assert "soaks of waves 4d" in problem.message
    slots = aws_credential("rotate_every: 3d, grace: 1d, soak: 1d, wave_soak: 1d")
    load_text(tmp_path, slots)
    two = slots.replace("[sm:app]", "[{to: sm, path: a, wave: 1}, {to: sm, path: b}]")
    (problem,) = problems_with(tmp_path, two)
    assert "grace 1d + soak 1d + settle 5m + soaks of waves 1d + 1h" in problem.message


def test_without_waves_the_built_in_soak_changes_no_plan(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, text("      - {to: sm, path: a, wave: 3}\n      - {to: sm, path: b, wave: 3}\n"))
    assert loaded.credentials["key"].policy.soaks == timedelta(0)

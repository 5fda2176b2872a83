"""Files that are made to hurt: they are refused fast, and nothing in them runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.config import load
from rotator.config.document import read_document
from rotator.domain.errors import SetupError
from tests.config.sample import EXAMPLE, load_text, told

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "it holds more than 100000 values"),
        (b"a: &a [*a]\n", "it is nested too deeply"),
        (b"a: " + b"[" * 100_000, "it is nested too deeply"),
        (b"a: " + b"{b: " * 5_000, "it is nested too deeply"),
        (b"- " * 10_000, "it is nested too deeply"),
        (b"[" + b"1," * 200_000 + b"1]", "it holds more than 100000 values"),
        (b"a: b\n" * 1_000_001, "it is larger than 5 MB"),
        (bytes(range(256)) * 10, "it is not UTF-8 text"),
        (b"\x7fELF\x00\x00\x00", "is a control character"),
        (b"a:\n\t- b\n", "rotator.yaml:2:1: this is not YAML"),
        (b"a: b\n---\nc: d\n", "rotator.yaml:2:1: this is not YAML: but found another document"),
        (b"a: [1, 2\nb: 3\n", "this is not YAML"),
        (b"a: *gone\n", "rotator.yaml:1:4: this is not YAML: found undefined alias"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_files_that_cannot_be_read_are_refused_at_once(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rotator.yaml"
    path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(SetupError) as caught:
        load(path)
    assert message in str(caught.value)
    assert time.monotonic() - started < 30


def test_endless_files_are_not_read_to_their_end() -> None:
    with pytest.raises(SetupError, match="larger than 5 MB"):
        load(Path("/dev/zero"))


def test_tabs_are_explained(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        load_text(tmp_path, "a:\n\t- b\n")
    assert caught.value.remedy == "YAML is indented with spaces, not with tabs"


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch pwned']",
        "!!python/name:os.system ''",
        "!!binary aGk=",
        "!!timestamp 2026-01-01",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!int abc",
        "!anything x",
    ],
)
def test_tags_are_refused_and_make_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.chdir(tmp_path)
    lines = told(tmp_path, f"environment: {value}\n")
    assert "rotator.yaml:1: environment: carries a YAML tag (`!…`): only plain values are read" in lines
    assert not (tmp_path / "pwned").exists()


def test_the_same_key_twice_is_a_problem(tmp_path: Path) -> None:
    lines = told(tmp_path, "environment: a\nstore: {}\nenvironment: b\ncredentials:\n  x: 1\n  x: 2\n")
    assert lines[0] == ("rotator.yaml:1: environment: stands here twice, in line 1 and in line 3: take one out")
    assert "credentials.x: stands here twice, in line 5 and in line 6" in lines[1]


def test_merge_keys_are_refused(tmp_path: Path) -> None:
    lines = told(tmp_path, "store: &s {url: 'sqlite:///x'}\nengine: {<<: *s}\n")
    assert any("merge keys are not read" in line for line in lines)


def test_keys_that_are_no_words_are_refused(tmp_path: Path) -> None:
    (line,) = told(tmp_path, "? [a, b]\n: 1\n")
    assert line == "rotator.yaml:1: a key in here is not a plain word"


def test_a_few_aliases_are_welcome(tmp_path: Path) -> None:
    config = load_text(tmp_path, "engine: {lease: &span 40s, retry: {most: *span}}\n")
    assert config.engine.lease == config.engine.retry_most


def test_a_byte_order_mark_is_welcome(tmp_path: Path) -> None:
    path = tmp_path / "rotator.yaml"
    path.write_bytes(b"\xef\xbb\xbfenvironment: prod\n")
    assert load(path).environment == "prod"


@pytest.mark.parametrize("number", ["9" * 5000, "9" * 12, "1" * 7])
@pytest.mark.parametrize("key", ["engine: {lease: %sd}", "defaults: {policy: {grace: %ss}}"])
def test_durations_beyond_every_calendar_are_problems(tmp_path: Path, key: str, number: str) -> None:
    (line,) = told(tmp_path, key % number)
    assert "is longer than ten years" in line


def test_a_duration_of_an_adapter_beyond_every_calendar_is_a_problem(tmp_path: Path) -> None:
    text = f"""
providers: {{openai: {{admin_key: env:K}}}}
destinations: {{sm: {{type: aws-secrets-manager, region: eu-west-1}}}}
credentials:
  web:
    provider: openai
    options: {{project: p, service_account: s, expires_in: {"9" * 12}d}}
    destinations: [sm:web]
"""
    (line,) = told(tmp_path, text)
    assert "credentials.web.options: holds a number that is too large" in line


def places_in(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places_in(value, (*path, key))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from places_in(value, (*path, position))


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = data.copy()
    copy[path[0]] = replaced(data[path[0]], path[1:], value)
    return copy


SAMPLE = yaml.safe_load(EXAMPLE.replace("include: [teams/*.yaml]", ""))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1d", "env:A", "openai"])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=9), SCALARS, max_size=2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(list(places_in(SAMPLE))), value=VALUES)
def test_whatever_stands_at_any_place_is_read_or_told(tmp_path: Path, path: tuple[Any, ...], value: Any) -> None:
    with suppress(SetupError):
        load_text(tmp_path, yaml.safe_dump(replaced(SAMPLE, path, value), allow_unicode=True))


PIECES = (
    *("a", "b: ", "- ", "\n", "  ", ": ", "'", '"', "{", "}", "[", "]", ",", "#", " #", "|", "|-\n", "> ", "&x ", "*x"),
    *("!t ", "? ", "?", "é", "0x1", "1e3", "~", "<<: ", "---\n", "\\n", ":", "@", "`", "{secret}", "\0", "😀", "''"),
    *("\t", "\r", "\ufeff", "\x85", "\u2028", "%YAML 1.1\n", "...\n", '"a\\x41"', "null", "\n\n", "    "),
)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_a_file_means_the_same_with_and_without_libyaml(tmp_path: Path, text: str) -> None:
    def read() -> tuple[Any, ...]:
        try:
            found = read_document(path, "rotator.yaml")
        except SetupError as problem:
            return (str(problem),)
        return repr(found.data), found.lines, found.complaints

    path = tmp_path / "rotator.yaml"
    path.write_bytes(text.encode())
    with_it = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        assert read() == with_it


def test_five_hundred_credentials_are_read_in_seconds(tmp_path: Path) -> None:
    lines = ["providers: {local: {type: generated}}", "destinations: {sm: {type: aws-secrets-manager, region: x-1}}"]
    lines.append("credentials:")
    for number in range(500):
        lines += [f"  key-{number}:", "    provider: local", "    policy: {cron: '0 9 * * MON', timezone: Asia/Tokyo}"]
        lines += [f"    labels: {{n: n{number}}}", f"    destinations: ['sm:key/{number}']"]
    started = time.monotonic()
    assert len(load_text(tmp_path, "\n".join(lines)).credentials) == 500
    assert time.monotonic() - started < 20

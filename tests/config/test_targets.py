"""Destination entries: short forms, fields, templates, and places with two writers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotator.config import Target
from tests.config.sample import BASE, load_text, problems_with

OPENAI = "provider: openai, options: {project: p, service_account: s}"
AWS = "provider: aws, options: {user: ci}"
LOCAL = "provider: local"


def config(*entries: str, provider: str = LOCAL, name: str = "web.key-1") -> str:
    return f"{BASE}credentials: {{{name}: {{{provider}, destinations: [{', '.join(entries)}]}}}}\n"


def target(folder: Path, entry: str, provider: str = LOCAL) -> Target:
    (found,) = load_text(folder, config(entry, provider=provider)).credentials["web.key-1"].destinations
    return found


@pytest.mark.parametrize(
    ("entry", "to", "path"),
    [
        ("'vault:secret/web/x'", "vault", "web/x"),
        ("'sm:ci/x'", "sm", "ci/x"),
        ("'env-file:/srv/web/.env'", "env-file", "/srv/web/.env"),
        ("web", "web", None),
        ("{to: vault, path: secret/web/x}", "vault", "secret/web/x"),
        ("{to: env-file, path: /srv/.env}", "env-file", "/srv/.env"),
    ],
)
def test_short_forms_are_the_addresses_that_status_prints(
    tmp_path: Path, entry: str, to: str, path: str | None
) -> None:
    found = target(tmp_path, entry)
    assert (found.to, found.path, found.position) == (to, path, 0)


def test_a_file_is_relative_to_the_configuration(tmp_path: Path) -> None:
    assert target(tmp_path, "'env-file:web/.env'").path == str(tmp_path / "web" / ".env")
    assert target(tmp_path, "{to: env-file, path: .env}").path == str(tmp_path / ".env")
    assert load_text(tmp_path, config("web")).destinations["web"].settings.path == tmp_path / "web.env"


@pytest.mark.parametrize(
    ("keys", "provider", "templates"),
    [
        ("", LOCAL, {"WEB_KEY_1": "{secret}"}),
        ("prefix: APP_", LOCAL, {"APP_WEB_KEY_1": "{secret}"}),
        ("", OPENAI, {"OPENAI_API_KEY": "{secret}"}),
        ("prefix: WEB_", OPENAI, {"WEB_OPENAI_API_KEY": "{secret}"}),
        ("", AWS, {"AWS_ACCESS_KEY_ID": "{access_key_id}", "AWS_SECRET_ACCESS_KEY": "{secret_access_key}"}),
        ("fields: {URL: 'x://{secret:url}@h'}", LOCAL, {"URL": "x://{secret:url}@h"}),
        ("fields: {K: '{secret}', ID: '{key_id}', V: 'v{version}'}", OPENAI, None),
        ("value: '{secret}'", LOCAL, {"": "{secret}"}),
        ('value: \'{"key": "{secret}"}\'', LOCAL, {"": '{"key": "{secret}"}'}),
    ],
)
def test_fields_map_names_to_templates(
    tmp_path: Path, keys: str, provider: str, templates: dict[str, str] | None
) -> None:
    found = target(tmp_path, f"{{to: sm, path: a, {keys}}}", provider)
    assert found.templates == (templates or {"K": "{secret}", "ID": "{key_id}", "V": "v{version}"})


@pytest.mark.parametrize(
    ("entry", "place", "message"),
    [
        ("{to: sm, path: a, fields: {A: '{secret}'}, value: '{secret}'}", ".value", "excludes `fields`"),
        ("{to: sm, path: a, fields: {A: '{secret}'}, prefix: X_}", ".prefix", "goes before the provider's own"),
        ("{to: sm, path: a, value: '{secret}', prefix: X_}", ".prefix", "goes before the provider's own"),
        ("{to: sm, path: a, fields: {}}", ".fields", "names no field"),
        ("{to: sm, path: a, fields: {'': '{secret}'}}", ".fields.…", "a field needs a name"),
        ("{to: sm, path: a, fields: {A: plain}}", ".fields.A", "holds no field of the key"),
        ("{to: sm, path: a, fields: {A: '{key_id}'}}", ".fields.A", "holds no field of the key"),
        ("{to: sm, path: a, fields: {A: '{secret}', B: plain}}", ".fields.B", "holds no field of the key"),
        ("{to: sm, path: a, fields: {A: '{secret}', B: '{key_id:hex}'}}", ".fields.B", "unknown format :hex"),
        ("{to: sm, path: a, fields: {A: '{access_key_id}'}}", ".fields.A", "unknown placeholder {access_key_id}"),
        ("{to: sm, path: a, fields: {A: '{secret:hex}'}}", ".fields.A", "unknown format :hex"),
        ("{to: sm, path: a, fields: {A: 3}}", ".fields.A", "must be text; put it in quotes"),
        ("{to: sm, path: a, fields: [A]}", ".fields", "must be a mapping of keys to values"),
        ("{to: sm, path: a, value: 'plain'}", ".value", "holds no field of the key"),
        ("{to: sm, path: a, fields: {A: '{previous.secret}'}}", ".fields.A", "unknown placeholder {previous.secret}"),
        ("{to: sm, path: a, value: '{secret}', mode: pair}", ".mode", "a whole body has no room for the key before"),
        ("{to: sm, path: a, mode: both}", ".mode", "must be one of single, pair"),
        (
            "{to: sm, path: a, fields: {A: '{secret}', A_PREVIOUS: '{secret}'}, mode: pair}",
            ".mode",
            "writes the key before to A_PREVIOUS, which is a field already",
        ),
        ("{to: vault, path: a, value: '{secret}'}", ".value", "this kind of destination has fields only"),
        ("{to: vault}", ".path", "a path is needed"),
        ("{to: vault, path: ''}", ".path", "must not be empty"),
        ("{to: vault, path: a/../b}", ".path", "is not a path"),
        ("'vault:web/x'", "", "does not begin with the mount"),
        ("vault", "", "a path is needed"),
        ("'gone:x'", "", "no destination is called `gone`"),
        ("'vault-kv:x'", "", "no destination is called `vault-kv`"),
        ("':x'", ".to", "must not be empty"),
        ("''", ".to", "must not be empty"),
        ("7", "", "must be a mapping of keys to values"),
        ("{path: x}", ".to", "is missing"),
    ],
)
def test_wrong_entries_are_told(tmp_path: Path, entry: str, place: str, message: str) -> None:
    (problem,) = problems_with(tmp_path, config(entry, name="key"))
    assert problem.place == f"credentials.key.destinations[0]{place}"
    assert message in problem.message


def test_a_field_of_a_place_has_one_writer(tmp_path: Path) -> None:
    text = f"""{BASE}
  other: {{type: vault-kv, address: "https://VAULT.example:8200/", auth: {{method: token, token: env:T}}}}
credentials:
  one: {{{LOCAL}, destinations: [{{to: vault, path: a, fields: {{A: "{{secret}}", B: "{{secret}}"}}}}]}}
  two: {{{LOCAL}, destinations: [{{to: other, path: a, fields: {{B: "{{secret}}", C: "{{secret}}"}}}}]}}
"""
    (problem,) = problems_with(tmp_path, text)
    assert problem.place == "credentials.two.destinations[0]"
    assert problem.message == (
        "the field B of this place (other:secret/a) is written by credential `one` too, "
        "at rotator.yaml:12: credentials.one.destinations[0]"
    )


def test_one_credential_writes_a_field_of_a_place_once(tmp_path: Path) -> None:
    (problem,) = problems_with(tmp_path, config("'sm:a'", "{to: sm, path: a}"))
    assert "is written by the same credential too" in problem.message


def test_a_whole_body_shares_its_place_with_nobody(tmp_path: Path) -> None:
    whole, field = "{to: sm, path: a, value: '{secret}'}", "'sm:a'"
    for entries in ((whole, field), (field, whole), (whole, whole)):
        (problem,) = problems_with(tmp_path, config(*entries))
        assert "of this place" in problem.message or "this place (sm:a)" in problem.message


@pytest.mark.parametrize(
    ("keys", "companions"),
    [
        ("", {}),
        ("mode: single", {}),
        ("mode: pair", {"WEB_KEY_1_PREVIOUS": "{previous.secret}"}),
        ("mode: pair, prefix: APP_", {"APP_WEB_KEY_1_PREVIOUS": "{previous.secret}"}),
        (
            "mode: pair, fields: {URL: 'x://{key_id}:{secret:url}@h', ID: '{key_id}'}",
            {"URL_PREVIOUS": "x://{previous.key_id}:{previous.secret:url}@h", "ID_PREVIOUS": "{previous.key_id}"},
        ),
    ],
)
def test_a_pair_has_a_companion_beside_each_field(tmp_path: Path, keys: str, companions: dict[str, str]) -> None:
    found = target(tmp_path, f"{{to: sm, path: a, {keys}}}")
    assert found.companions == companions
    assert not set(found.companions) & set(found.templates)


def test_a_companion_has_one_writer_too(tmp_path: Path) -> None:
    entries = "{to: sm, path: a, mode: pair}", "{to: sm, path: a, fields: {KEY_PREVIOUS: '{secret}'}}"
    for pair in (entries, entries[::-1]):
        (problem,) = problems_with(tmp_path, config(*pair, name="key"))
        assert "the field KEY_PREVIOUS of this place (sm:a) is written by the same credential too" in problem.message


def test_two_credentials_may_share_a_place(tmp_path: Path) -> None:
    text = f"{BASE}credentials: {{one: {{{LOCAL}, destinations: [sm:a]}}, two: {{{LOCAL}, destinations: [sm:a]}}}}\n"
    assert len(load_text(tmp_path, text).credentials) == 2


def test_the_same_file_by_two_names_has_one_writer(tmp_path: Path) -> None:
    text = config("web", f"'env-file:{tmp_path}/web.env'")
    (problem,) = problems_with(tmp_path, text)
    assert "is written by the same credential too" in problem.message


def test_a_provider_has_to_be_listed(tmp_path: Path) -> None:
    text = "credentials: {key: {provider: generated, destinations: [env-file:/x]}}"
    (problem,) = problems_with(tmp_path, text)
    assert problem.message == "no provider is called `generated`"
    assert problem.hint == "list it under `providers`: `generated: {}`"


def test_the_type_may_be_left_out_where_the_name_is_one(tmp_path: Path) -> None:
    text = "providers: {generated: }\ncredentials: {key: {provider: generated, destinations: [env-file:/x]}}"
    config = load_text(tmp_path, text)
    assert config.providers["generated"].type == "generated"
    assert config.destinations["env-file"].type == "env-file"


def test_options_that_do_not_go_with_the_provider_are_told_in_our_words(tmp_path: Path) -> None:
    text = config("'sm:a'", provider="provider: local, options: {length: 16, alphabet: hex}", name="key")
    (problem,) = problems_with(tmp_path, text)
    assert problem.place == "credentials.key.options"
    assert "are needed: set length to" in problem.message
    assert "validation error" not in problem.message

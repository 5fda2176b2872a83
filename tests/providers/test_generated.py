from __future__ import annotations

import string
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from rotator.domain.secret import Material
from rotator.ports.provider import Verdict
from rotator.providers.generated import Generated, GeneratedValues
from tests.contracts.provider import CANARY, ChoosingContract


def bound(settings: dict[str, Any] | None = None, **options: Any) -> GeneratedValues:
    account = Generated(Generated.Settings.model_validate(settings or {}), timedelta(seconds=1))
    return account.bind(Generated.Options.model_validate(options))


class TestGenerated(ChoosingContract):
    unknown_id = "gen-unknown"

    def spoilt(self, material: Material) -> Material:
        return Material.of(secret=CANARY)

    @pytest.fixture
    def provider(self) -> GeneratedValues:
        return bound()


@pytest.mark.parametrize(
    ("options", "length", "characters"),
    [
        ({}, 40, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
        ({"alphabet": "hex", "length": 64}, 64, "0123456789abcdef"),
        ({"alphabet": "urlsafe", "length": 4096}, 4096, f"{string.ascii_letters}{string.digits}-_"),
        ({"alphabet": "01", "length": 128}, 128, "01"),
    ],
)
def test_a_value_has_the_form_that_is_asked_for(options: dict[str, Any], length: int, characters: str) -> None:
    values = [bound(**options).generate()["secret"].reveal() for _ in range(20)]
    assert {len(value) for value in values} == {length}
    assert set("".join(values)) <= set(characters)
    assert len(set(values)) == 20


def test_a_prefix_stands_before_the_random_part() -> None:
    value = bound({"prefix": "app_"}).generate()["secret"].reveal()
    assert value.startswith("app_")
    assert len(value) == 44


def test_what_a_credential_says_goes_before_what_the_account_says() -> None:
    value = bound({"prefix": "app_", "length": 50}, length=60).generate()["secret"].reveal()
    assert value.startswith("app_")
    assert len(value) == 64


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"length": 16}, "have 95 bits; 128 are needed: set length to 22 or more"),
        ({"length": 31, "alphabet": "hex"}, "set length to 32 or more"),
        ({"length": 15}, "greater than or equal to 16"),
        ({"length": 4097}, "less than or equal to 4096"),
        ({"alphabet": "A-Za-z0-9"}, "repeats a character"),
        ({"alphabet": "ab c"}, "printable ASCII"),
        ({"alphabet": "äöü"}, "printable ASCII"),
        ({"alphabet": "a"}, "at least 2 characters"),
        ({"prefix": "a b"}, "printable ASCII"),
        ({"prefix": "line\n"}, "printable ASCII"),
        ({"suffix": "x"}, "not permitted"),
    ],
)
def test_a_weak_or_odd_form_is_an_error(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Generated.Settings.model_validate(wrong)


def test_options_and_settings_are_strong_together_or_an_error() -> None:
    with pytest.raises(ValueError, match=r"^20 characters out of 62 have 119 bits; 128 are needed") as told:
        bound({"alphabet": "alphanumeric"}, length=20)
    assert type(told.value) is ValueError
    assert bound({"alphabet": "urlsafe"}, length=22).generate()


def test_the_id_of_a_value_is_the_same_everywhere_and_does_not_show_it() -> None:
    material = Material.of(secret="0123456789abcdef0123456789abcdef")
    assert bound().set(material) == bound({"length": 50}).identify(material) == "gen-c8347cfac84d"


def test_an_adopted_value_of_any_form_is_identified_and_an_empty_one_is_not() -> None:
    assert bound().identify(Material.of(secret="schlüssel 1"))
    assert bound().identify(Material.of(secret="")) is None


def test_nobody_can_tell_whether_a_value_works() -> None:
    assert not bound().capabilities.can_tell
    assert bound().authenticate(Material.of(secret="anything")).verdict is Verdict.ACCEPTED
    assert bound().authenticate(Material.of(secret="")).verdict is Verdict.REFUSED


def test_nobody_lists_or_deletes_values() -> None:
    provider = bound()
    provider.delete(provider.set(provider.generate()))
    assert list(provider.keys()) == []

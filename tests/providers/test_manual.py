from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from rotator.domain.errors import Refused
from rotator.domain.secret import Material
from rotator.ports.provider import Verdict
from rotator.providers.manual import Manual, ManualKeys
from tests.contracts.provider import CANARY, AskingContract, Live


def bound(instructions: str) -> ManualKeys:
    account = Manual(Manual.Settings.model_validate({}), timedelta(seconds=1))
    return account.bind(Manual.Options.model_validate({"instructions": instructions}))


@pytest.fixture
def provider() -> ManualKeys:
    return bound("make a key at https://partner.example/keys")


class TestManual(AskingContract):
    unknown_id = "manual-unknown"

    def spoilt(self, material: Material) -> Material:
        return Material.of(secret=CANARY)

    @pytest.fixture
    def live(self, provider: ManualKeys) -> Live:
        material = Material.of(secret="a value that a person has typed")
        key_id = provider.identify(material)
        assert key_id is not None
        return Live(key_id, material)


def test_the_instructions_are_those_of_the_configuration(provider: ManualKeys) -> None:
    assert provider.instructions() == "make a key at https://partner.example/keys"


@pytest.mark.parametrize("wrong", ["", "  ", "two\nlines", "x" * 501])
def test_instructions_are_one_line(wrong: str) -> None:
    with pytest.raises(ValidationError):
        bound(wrong)


def test_an_empty_value_is_refused_and_is_no_key(provider: ManualKeys) -> None:
    empty = Material.of(secret="")
    assert provider.authenticate(empty).verdict is Verdict.REFUSED
    assert provider.identify(empty) is None


def test_other_values_have_other_ids_that_do_not_hold_them(provider: ManualKeys) -> None:
    ids = [provider.identify(Material.of(secret=f"hunter{n}")) for n in range(3)]
    assert len(set(ids)) == 3
    assert not [i for i in ids if i is None or "hunter" in i]


def test_it_never_claims_to_have_taken_a_key_away(provider: ManualKeys) -> None:
    with pytest.raises(Refused):
        provider.delete("manual-1")

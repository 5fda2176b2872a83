"""A secret does not show itself."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from rotator.domain.secret import Material, Secret

VALUE = "s3cr3t-value"


@pytest.mark.parametrize("show", [repr, str, lambda s: f"{s}", lambda s: f"{s:>20}", ascii])
def test_no_way_of_printing_shows_it(show: object) -> None:
    assert VALUE not in show(Secret(VALUE))  # type: ignore[operator]


@pytest.mark.parametrize("show", [repr, str, ascii])
def test_material_shows_its_names_alone(show: object) -> None:
    assert show(Material.of(secret=VALUE)) == "<Material secret>"  # type: ignore[operator]


@pytest.mark.parametrize("keep", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash])
def test_it_is_not_pickled_copied_or_hashed(keep: object) -> None:
    with pytest.raises(TypeError) as told:
        keep(Secret(VALUE))  # type: ignore[operator]
    assert VALUE not in str(told.value)


def test_equality_compares_values() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE


def test_an_empty_secret_is_false() -> None:
    assert not Secret("")
    assert Secret(VALUE)


def test_material_compares_by_names_and_values() -> None:
    assert Material.of(a="1", b="2") == Material.of(b="2", a="1")
    assert Material.of(a="1") != Material.of(a="2")
    assert Material.of(a="1") != Material.of(b="1")

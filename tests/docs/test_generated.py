from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.generate import MODELS, PARTS, pages, renewed


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_generated_parts_of_a_page_are_as_the_code_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert renewed(text) == text, "run `make docs`, and say what new keys mean"


def test_every_part_stands_on_exactly_one_page() -> None:
    texts = [page.read_text(encoding="utf-8") for page in pages()]
    for name in PARTS:
        assert sum(text.count(f"<!-- begin: {name} -->") for text in texts) == 1, name


def test_every_key_of_the_configuration_has_a_meaning() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert "TO BE SAID" not in text


def test_a_new_key_is_asked_for_its_meaning() -> None:
    page = "<!-- begin: store -->\n| key | value | default | meaning |\n|---|---|---|---|\n<!-- end: store -->"
    assert "| `url` | text | `sqlite:///rotator.db` | TO BE SAID |" in renewed(page)


def test_what_a_person_wrote_about_a_key_is_kept() -> None:
    rows = "| `url` | anything | old | where it is |\n| `gone` | text | — | no more |\n"
    page = f"<!-- begin: store -->\n{rows}<!-- end: store -->"
    assert "| `url` | text | `sqlite:///rotator.db` | where it is |" in renewed(page)
    assert "gone" not in renewed(page)


def test_every_settings_model_has_a_table() -> None:
    assert set(MODELS) <= set(PARTS)

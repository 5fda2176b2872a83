"""The pictures show what the program prints today."""

from __future__ import annotations

from pathlib import Path

from tests.docs.generate import DOCS, pages
from tests.docs.pictures import PICTURES, SCREENS, lasting, picture, printed, said


def test_each_picture_says_what_its_command_prints(tmp_path: Path) -> None:
    for name, output in printed(tmp_path):
        kept = (PICTURES / f"{name}.svg").read_text(encoding="utf-8")
        assert lasting(SCREENS[name]) in said(kept)
        assert said(kept) == said(picture(name, output)), f"{name}.svg is old: `make pictures`"


def test_each_picture_is_shown_and_fetches_nothing() -> None:
    texts = "".join(page.read_text(encoding="utf-8") for page in pages())
    assert {path.stem for path in PICTURES.iterdir()} == set(SCREENS)
    for path in PICTURES.iterdir():
        assert f"({path.relative_to(DOCS)})" in texts, path
        assert "url(http" not in path.read_text(encoding="utf-8")

"""The man pages say what `--help` says."""

from __future__ import annotations

from tests.cli.test_help import every_command
from tests.docs.man import FOLDER, pages


def test_the_pages_are_as_the_commands_are() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert written == pages(), "run `make docs`"


def test_every_command_has_its_section() -> None:
    page = pages()["rotator.1"]
    for words in every_command():
        assert f"\n.SS rotator {' '.join(words)}\n".replace("-", "\\-") in page


def test_text_is_never_taken_for_a_request() -> None:
    known = (".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi")
    for page in pages().values():
        for line in page.splitlines():
            assert not line.startswith("'")
            assert not line.startswith(".") or line.split(" ")[0] in known

"""The site is built as `make site` does: a dead link and a page that no nav names are errors of mkdocs itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.generate import DOCS, pages

ROOT = DOCS.parent
_FETCHED = re.compile(r"<(script|img|iframe)[^>]* src=\"?https?:|<link[^>]*stylesheet[^>]* href=\"?https?:")


def build(folder: Path, configuration: str = "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--config-file", configuration, "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_page_has_a_place_in_the_site_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in pages():
        made = page.relative_to(DOCS).with_suffix("")
        folder = made.parent if made.name in ("index", "README") else made
        assert (tmp_path / folder / "index.html").is_file(), page
    # What stands outside docs/ is there, and leads back.
    assert 'href="../../daemon/"' in (tmp_path / "repository" / "deploy" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "model" / "tables.py").is_file()
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not _FETCHED.search(text), page  # a reader's browser asks nobody else
        assert 'class="mermaid"' not in text, page  # for which the theme fetches a program


def test_a_page_that_no_nav_names_and_a_dead_link_are_found(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "adr").mkdir(parents=True)
    (docs / "index.md").write_text("[gone](gone.md) [away](../gone.sql) [part](#gone)\n", encoding="utf-8")
    (docs / "lost.md").write_text("# Lost\n", encoding="utf-8")
    ours = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").replace("docs/site.py", f"{DOCS}/site.py")
    (tmp_path / "mkdocs.yml").write_text(f"{ours.partition('# the nav')[0]}nav: [index.md]\n", encoding="utf-8")
    done = build(tmp_path / "site", str(tmp_path / "mkdocs.yml"))
    assert done.returncode != 0
    for trouble in ("lost.md", "'gone.md'", "gone.sql", "'#gone'"):
        assert trouble in done.stdout + done.stderr, trouble

"""What mkdocs is told beside mkdocs.yml: pages of the repository outside docs/ that are linked to, and the decisions.

A link from docs/ to `../deploy/README.md` works on a forge as it is. In the site that page stands under `repository/`,
and the links between it and the others are changed on the way. See https://www.mkdocs.org/dev-guide/plugins/#events.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = "repository"

_LINK = re.compile(r"(?<=\]\()(?P<target>[^)#:\s]+)")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give every decision its place in the nav, in the order of their numbers."""
    entries: list[Any] = config.nav or []
    for entry in entries:
        if isinstance(entry, dict) and "Decisions" in entry:
            entry["Decisions"] = [f"adr/{page.name}" for page in sorted((ROOT / "docs" / "adr").glob("*.md"))]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what the pages, those added here included, link to outside docs/. What is not there stays a dead link."""
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        text = _FENCED.sub("", page.content_string)
        for found in _LINK.finditer(text):
            place = _in_site(_in_repository(page, found["target"]))
            path = ROOT / place.removeprefix(f"{OUTSIDE}/")
            if place.startswith(f"{OUTSIDE}/") and path.is_file() and files.get_file_from_path(place) is None:
                added = File.generated(config, place, abs_src_path=str(path))
                files.append(added)
                if added.is_documentation_page():
                    waiting.append(added)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs calls it by name
    """Let the links between docs/ and the rest of the repository lead to where the pages stand in the site."""

    def there(found: re.Match[str]) -> str:
        target = found["target"]
        aim = _in_repository(page.file, target)
        outward = not aim.startswith("docs/")
        if outward == page.file.src_uri.startswith(f"{OUTSIDE}/"):
            return target  # it does not cross the border
        return relpath(_in_site(aim), dirname(page.file.src_uri) or ".")

    return _LINK.sub(there, markdown)


def _in_repository(page: File, target: str) -> str:
    """What a link of this page means, as a path of the repository."""
    here = (
        page.src_uri.removeprefix(f"{OUTSIDE}/") if page.src_uri.startswith(f"{OUTSIDE}/") else f"docs/{page.src_uri}"
    )
    return normpath(join(dirname(here), target))


def _in_site(path: str) -> str:
    """Where a path of the repository stands in the site."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{OUTSIDE}/{path}"

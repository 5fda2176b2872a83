"""One installation with generated secrets, on SQLite: what metrics tell does not depend on the provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import house, template
from tests.engine.conftest import embedded, place, web_embedded
from tests.engine.place import Place

__all__ = ["embedded", "house", "place", "template", "web_embedded"]


def write(place: Place, *names: str, path: Path | None = None) -> None:
    """Configure these credentials; each has a field of its own in the env file."""
    place.write(
        providers={"local": {"type": "generated", "prefix": "CANARY-"}},
        destinations={"env": {"type": "env-file", "path": str(path or place.folder / "app.env")}},
        credentials={
            name: {"provider": "local", "destinations": [{"to": "env", "fields": {name.upper(): "{secret}"}}]}
            for name in names
        },
    )


@pytest.fixture
def installed(embedded: Place) -> Place:
    write(embedded, "web", "mail")
    return embedded

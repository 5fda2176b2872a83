"""`check`: destinations from which a key reaches browsers, phones, everybody on the machine, or the history of git."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from rotator.access.dotenv import PUBLISHED
from rotator.cli.finding import Finding
from rotator.config import Config, CredentialConfig, Target
from rotator.domain.model import WHOLE_BODY
from rotator.domain.template import PUBLIC, Template
from rotator.scanning import sources

_SERVED = {"public", "static", "www", "wwwroot", "htdocs", "public_html"}
"""Folders that web servers and site builders deliver as they are."""

_SHIPPED = ("src/main/res", "src/main/assets", ".xcassets/", "Resources/", "app/assets")
"""Parts of paths that go into the package of an app."""

_INSTEAD = "keep it on a server that calls the provider, and give the client a session of its own"


def findings(config: Config, credential: CredentialConfig) -> Iterator[Finding]:
    """A warning for each way in which a destination of this credential gives a key away."""
    for target in credential.destinations:
        place = config.destinations[target.to]
        if place.type != "env-file":  # which refuses such a name by itself
            yield from names(credential.name, target)
        path = target.path or getattr(place.settings, "path", None)
        if place.type == "env-file" and path is not None:
            yield from _file(credential.name, Path(path))


def names(credential: str, target: Target) -> Iterator[Finding]:
    """Names that builds publish, of fields that hold a secret."""
    for field, template in target.templates.items():
        secret = set(Template(template).names) - set(PUBLIC)
        if field != WHOLE_BODY and secret and field.upper().startswith(PUBLISHED):
            message = f"builds put variables named like {field} into what browsers and phones download"
            yield _warning(credential, f"{target.to} {field}", message, reason="public_name", remedy=_INSTEAD)


def _file(credential: str, file: Path) -> Iterator[Finding]:
    served = next((part for part in file.parent.parts if part in _SERVED), None)
    if served is not None:
        message = f"it lies below a folder called {served}, which web servers deliver to everybody"
        yield _warning(credential, str(file), message, reason="public_folder", remedy=_INSTEAD)
    if any(part in str(file) for part in _SHIPPED):
        message = "it lies where it goes into the package of an app, from which anybody can take it"
        yield _warning(credential, str(file), message, reason="public_folder", remedy=_INSTEAD)
    try:
        mode = file.stat().st_mode
    except OSError:
        return  # the destination's own check says what is wrong
    if mode & stat.S_IROTH:
        remedy = f"chmod o= {file}, or name a `mode` of the destination; readers share its group"
        yield _warning(
            credential, str(file), "every user of this machine may read it", reason="world_readable", remedy=remedy
        )
    if sources.was_committed(file):
        remedy = f"`rotator scan --history {file.parent}` says which keys are there; rotate those as compromised"
        message = "a version of it is in the history of its git repository, with the keys that it held"
        yield _warning(credential, str(file), message, reason="committed", remedy=remedy)


def _warning(credential: str, subject: str, message: str, *, reason: str, remedy: str) -> Finding:
    return Finding(
        check="exposure",
        subject=subject,
        credential=credential,
        outcome="warning",
        message=message,
        reason=reason,
        remedy=remedy,
    )

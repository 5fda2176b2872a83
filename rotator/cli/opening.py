"""From `--config` to a service: the configuration read, the database open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from rotator import logs, wiring
from rotator.cli import words
from rotator.cli.options import Page
from rotator.config import Config, find, load, select
from rotator.domain.errors import Busy, SetupError
from rotator.domain.model import Credential
from rotator.engine import removed
from rotator.engine.engine import HELD_WAIT, Engine, HeldByOther
from rotator.engine.work import Work


def configuration(explicit: str | None) -> Config:
    """The configuration that this command is about. Raises SetupError."""
    return load(find(explicit, os.environ))


@contextmanager
def looking(config: Config) -> Iterator[wiring.Service]:
    """A service that only reads the database; needs no sealing key."""
    with wiring.opened(config, wiring.surroundings(), unlock=False) as service:
        yield service


@contextmanager
def working(config: Config, *, dry: bool = False) -> Iterator[wiring.Service]:
    """A service with the sealing key, for the operator's verbs. `dry`: opening it writes nothing."""
    with wiring.opened(config, wiring.surroundings(bug=logs.bug), dry=dry) as service:
        yield service


@contextmanager
def holding(engine: Engine, name: str, patience: float = HELD_WAIT) -> Iterator[Work]:
    """Hold a credential's lease; wait so long for another worker (seconds). Raises Busy, saying who has it."""
    end = time.monotonic() + patience
    with ExitStack() as held:
        while True:
            try:
                work = held.enter_context(engine.hold(name))
                break
            except HeldByOther as other:
                if time.monotonic() >= end:
                    message = f"{name} is held by another worker: {words.holder(other.lease)}"
                    raise Busy(message, remedy="wait until it is done, and try again") from None
            time.sleep(0.25)
        yield work


def shown(service: wiring.Service, names: Iterable[str], selector: str | None) -> list[str] | None:
    """The credentials that a look is about; None: all, with those that are on record only."""
    names = list(names)
    if not names and selector is None:
        return None
    recorded = {credential.name for credential in service.store.credentials()} - service.config.credentials.keys()
    gone = [name for name in names if name in recorded]
    rest = [name for name in names if name not in recorded]
    if gone and not rest:
        return gone
    return gone + [credential.name for credential in select(service.config, rest, selector)]


def paged(
    service: wiring.Service, names: Iterable[str], selector: str | None, page: Page | None
) -> tuple[list[str] | None, int]:
    """What `shown` gives, or the page of it, and how many come after that."""
    found = shown(service, names, selector)
    if page is None:
        return found, 0
    return page.of(everything(service) if found is None else found)


def everything(service: wiring.Service) -> list[str]:
    """The names of all credentials, also of those that are on record only."""
    return sorted({*service.managed, *(credential.name for credential in service.store.credentials())})


def on_record(service: wiring.Service, name: str) -> Credential:
    """The row of a credential. Raises SetupError where it has none."""
    credential = service.store.credential(name)
    if credential is None:
        message = f"there is no credential {name} on record"
        raise SetupError(message, reason="unknown_credential", remedy="`rotator status` lists them")
    return credential


def chosen(service: wiring.Service, names: Iterable[str], selector: str | None, *, unnamed: bool = True) -> list[str]:
    """The credentials that work is about; without names and selector all of them.

    Those that the configuration names no more and that are being finished are among them, by name, or with `unnamed`.
    Raises PermanentError for one that cannot be finished.
    """
    names = list(dict.fromkeys(names))
    if not names and selector is None and unnamed:
        return service.names
    gone = [name for name in names if name in service.names and name not in service.config.credentials]
    for name in gone:
        if name in service.left_out:
            raise removed.problem(name, service.left_out[name])
    rest = [name for name in names if name not in gone]
    if gone and not rest and selector is None:
        return gone
    return gone + [credential.name for credential in select(service.config, rest, selector)]

"""Where pages come from when no worker runs in this process: a configuration, and its database while it answers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

from rotator import wiring
from rotator.config import Config
from rotator.domain.errors import RotatorError, StoreUnavailable
from rotator.engine.report import Report
from rotator.web import health
from rotator.web.health import Check
from rotator.web.metrics import Installation
from rotator.wiring import Service

_BELONGS_TO = {"schema_outdated": "migrations", "schema_newer": "migrations", "schema_contracted": "migrations"}
_DATABASE = (
    "bad_store_url",
    "no_database",
    "database_refused",
    "database_untrusted",
    "database_damaged",
    "other_environment",
)


class Opened:
    """Opens the database when it is first asked, and again after it could not be. May be used from several threads."""

    def __init__(self, config: Config, *, unlock: bool = False) -> None:
        """`unlock`: with the sealing key, which is tried; still nothing is written but the mark of its first use."""
        self.config = config
        self.metrics = Installation(self._report)
        self._unlock = unlock
        self._lock = threading.Lock()
        self._service: Service | None = None

    def ready(self, pass_within: timedelta | None = None) -> Sequence[Check]:
        """What has to hold; where the database cannot be opened, what is wrong with that."""
        try:
            service = self._open()
        except RotatorError as problem:
            return [health.failed(_what(problem), problem)]
        return health.checks(service, unlocked=self._unlock, pass_within=pass_within)

    def close(self) -> None:
        """Close the connections; asked again, they are opened again."""
        with self._lock:
            if self._service is not None:
                self._service.close()
            self._service = None

    def _report(self) -> Report:
        return self._open().report()

    def _open(self) -> Service:
        with self._lock:
            if self._service is None:
                around = wiring.surroundings()
                self._service = wiring.open_service(self.config, around, unlock=self._unlock, dry=self._unlock)
            return self._service


def _what(problem: RotatorError) -> str:
    if isinstance(problem, StoreUnavailable) or problem.reason in _DATABASE:
        return "database"
    return _BELONGS_TO.get(problem.reason, "sealing_key")

"""A consumer is whatever reads a credential's key. Some can be asked since when they run, some leave word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Process:
    """One running process that has read its key when it began."""

    name: str  # such as `pid 4711`
    started_at: datetime  # by this host's clock, aware UTC; never later than it was


class Consumer(Protocol):
    """A program that reads its key at its start, and no more. Methods may be called from several threads."""

    @property
    def name(self) -> str:
        """How screens call it, such as `web.service`."""
        ...

    def processes(self) -> Sequence[Process]:
        """What of it runs now; empty where it is known that nothing does. May be repeated.

        Raises TemporaryError or PermanentError where that cannot be told: nobody takes that for "nothing".
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a consumer says: the fingerprint of the key that it holds, and when it said so."""

    consumer: str
    fingerprint: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Words:
    """Everything that stands at a drop. `problems` says what could not be taken, and why."""

    words: Sequence[Word] = field(default=())
    problems: Sequence[str] = field(default=())


class Drop(Protocol):
    """Where the consumers of one credential leave word, where they cannot run `rotator seen`."""

    def read(self) -> Words:
        """All of it. May be repeated; takes nothing away. One that cannot be read is no reason to raise.

        Raises TemporaryError or PermanentError where the drop itself cannot be read. A drop that is not there is empty.
        """
        ...

"""Group commit for SQLite, where one writes at a time: who comes while another writes joins its transaction.

SQLite lets writers wait by sleeping and trying again: with many threads some wait for seconds while others pass them,
and each commit is a journey to the disk of its own. Here the writers of one process take turns on one connection, in
about the order in which they came, each in a savepoint of its own, and one commit ends the turns of all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

from rotator.domain.errors import StoreUnavailable

MOST = 64
"""Writers of one transaction: it ends though more are waiting."""


@dataclass
class _Group:
    """One transaction, of the thread that began it and of those that joined."""

    connection: Connection | None = None
    joined: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    problem: BaseException | None = None


class GroupCommit:
    """Turns on a transaction. Threads may share it; nobody may begin a turn within a turn of the same thread."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Connection]], patience: float) -> None:
        """`transaction` begins one, and commits at the end of the block. `patience`: for a turn, in seconds."""
        self._transaction = transaction
        self._patience = patience
        lock = threading.Lock()
        self._turn = threading.Condition(lock)
        self._settled = threading.Condition(lock)  # for who began: all that wait have had their turns
        self._waiting = 0
        self._busy = False  # somebody has the turn, or the transaction is ending
        self._group: _Group | None = None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The connection, for one turn. At the end of the block what was written is committed, with that of others.

        Raises StoreUnavailable where no turn came in time, or the commit failed: then the outcome is unknown.
        """
        group, first = self._take_turn()
        with self._beginning(group) if first else self._joining(group) as connection:
            yield connection

    def _take_turn(self) -> tuple[_Group, bool]:
        with self._turn:
            self._waiting += 1
            try:
                free = self._turn.wait_for(lambda: not self._busy, self._patience)
            finally:
                self._waiting -= 1
                self._settled.notify()
            if not free:
                self._turn.notify()  # what may have been meant for us is for the next one
                message = f"the database does not answer: no turn to write came within {self._patience:g} s"
                raise StoreUnavailable(message)
            self._busy = True
            first = self._group is None
            self._group = self._group or _Group()
            return self._group, first

    @contextmanager
    def _beginning(self, group: _Group) -> Iterator[Connection]:
        try:
            with self._transaction() as connection:
                group.connection = connection
                yield connection
                self._let_others_join(group)
        except BaseException as problem:
            group.problem = problem
            raise
        finally:
            with self._turn:
                self._group = None
                self._busy = False
                self._turn.notify()
            group.ended.set()

    def _let_others_join(self, group: _Group) -> None:
        with self._turn:
            self._busy = False
            self._turn.notify()
            try:
                while self._busy or (self._waiting and group.joined < MOST):
                    self._settled.wait()
            finally:
                while self._busy:
                    self._settled.wait()
                self._busy = True  # nobody begins while it ends

    @contextmanager
    def _joining(self, group: _Group) -> Iterator[Connection]:
        assert group.connection is not None
        try:
            with group.connection.begin_nested():
                yield group.connection
        finally:
            with self._turn:
                group.joined += 1
                self._busy = False
                if group.joined < MOST:
                    self._turn.notify()
                self._settled.notify()
        group.ended.wait()
        if group.problem is not None:
            message = "the database does not answer: the commit that others share with this one failed"
            raise StoreUnavailable(message) from None

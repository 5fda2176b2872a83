"""Several things at once, and one thing within a time limit. The real way is threads; a simulation has its own."""

from __future__ import annotations

import contextvars
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from rotator.domain.errors import LostAnswer, RotatorError

T = TypeVar("T")

_AT_ONCE = 8
"""How many places of one credential are written side by side."""


class Concurrency(Protocol):
    """What the engine needs of threads."""

    def within(self, seconds: float, do: Callable[[], T], ended: Callable[[], None]) -> T:
        """Return or raise what `do` does; LostAnswer where it takes longer than so many seconds.

        It may then go on all the same. `ended` is called once it has come back, before or after the time is over.
        """
        ...

    def side_by_side(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Do all of them, also where one raises; then raise the first one's exception in their order."""
        ...


class Threads:
    """Concurrency by threads of this process."""

    def within(self, seconds: float, do: Callable[[], T], ended: Callable[[], None]) -> T:
        """A daemon thread, so that a call that never comes back does not keep the process."""
        context = contextvars.copy_context()  # what is done there is part of what is done here
        result: list[T] = []
        problem: list[BaseException] = []

        def run() -> None:
            try:
                result.append(context.run(do))
            except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
                problem.append(_stripped(error))
            finally:
                ended()

        thread = threading.Thread(target=run, daemon=True, name="call")
        thread.start()
        thread.join(seconds)
        if problem:
            raise problem[0]
        if not result:
            message = f"no answer within {seconds:g} s"
            raise LostAnswer(message)
        return result[0]

    def side_by_side(self, tasks: Sequence[Callable[[], None]]) -> None:
        """A thread for each, but none where there is only one."""
        if len(tasks) == 1:
            tasks[0]()
            return
        with ThreadPoolExecutor(max_workers=min(len(tasks), _AT_ONCE) or 1) as pool:
            for outcome in [pool.submit(contextvars.copy_context().run, task) for task in tasks]:
                outcome.result()


def _stripped(problem: BaseException) -> BaseException:
    """The exception, with nothing left of what the call held: its frames have no locals, ours no foreign context.

    A request with its headers and body hangs on the exceptions of HTTP libraries, and on the frames that sent it.
    """
    each: BaseException | None = problem
    while each is not None:
        traceback.clear_frames(each.__traceback__)
        each = each.__cause__ or each.__context__
    if isinstance(problem, RotatorError):
        problem.__cause__ = problem.__context__ = None
    return problem

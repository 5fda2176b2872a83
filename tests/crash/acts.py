"""What is interrupted: rotate, abandon, adopt or rehearse, and what follows; in a process of its own or in ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rotator import wiring
from rotator.domain.errors import Busy, PermanentError, SetupError, StaleLease
from rotator.domain.model import Cause
from rotator.engine import adoption, operator, rehearsal
from rotator.engine.engine import Wish
from rotator.wiring import Service
from tests.processes import forked

PATIENCE = timedelta(seconds=10)

_IN_VAIN = (SetupError, Busy, StaleLease)  # on a busy machine a lease of a second may end before its work does


def go_on(service: Service, name: str) -> None:
    """A pass: whatever is unfinished."""
    service.running().run([name], None, PATIENCE)


def rotate(service: Service, name: str) -> None:
    """A new key, and the old one taken away."""
    service.running().run([name], Wish(cause=Cause.MANUAL), PATIENCE)
    go_on(service, name)


def abandon(service: Service, name: str) -> None:
    """The new key is given up, the old one put back, the new one taken away."""
    with contextlib.suppress(*_IN_VAIN), service.running().hold(name) as work:  # nothing is open any more
        operator.abandon(work, because="the crash matrix")
    go_on(service, name)


def adopt(service: Service, name: str) -> None:
    """A key that a person made is taken over."""
    with contextlib.suppress(*_IN_VAIN), service.running().hold(name) as work:  # it is adopted already
        adoption.adopt(work, because="the crash matrix")
    go_on(service, name)


def rehearse(service: Service, name: str) -> None:
    """Everything but the switch, beside the places, and all of it taken away again."""
    with contextlib.suppress(*_IN_VAIN, PermanentError), service.running().hold(name) as work:  # one is being cleared
        rehearsal.begin(work, "the crash matrix")
    service.running().run([name], Wish(cause=Cause.REHEARSAL), PATIENCE)
    go_on(service, name)


ACTS: dict[str, Callable[[Service, str], None]] = {
    act.__name__: act for act in (go_on, rotate, abandon, adopt, rehearse)
}


def interrupted(file: Path, name: str, act: str, at: int | str, note: Path) -> str | None:
    """Do it in a process that dies at this moment; return the moment's label, or None where it was never reached."""
    note.unlink(missing_ok=True)
    process = forked.Process(target=_do_and_die, args=(file, name, act, at, note))
    process.start()
    process.join(60)
    if process.exitcode == 0:
        return None
    assert process.exitcode == -9, f"{act} ended with {process.exitcode}"
    return note.read_text()


def killed_after(seconds: float | None, file: Path, name: str, act: str) -> bool:
    """Do it in a process that is killed after so long, wherever it is then; False where it was quicker."""
    process = forked.Process(target=_do_and_die, args=(file, name, act, None, Path()))
    process.start()
    process.join(seconds)
    process.kill()
    process.join(60)
    return process.exitcode != 0


def _do_and_die(file: Path, name: str, act: str, at: int | str | None, note: Path) -> None:
    from rotator.config import load
    from tests.crash.points import Points, dies

    points = Points()
    with wiring.opened(load(file), wiring.surroundings(), seam=points) as service:
        points.arm(at, dies(note))
        ACTS[act](service, name)

"""How a command ends: every outcome has its exit status, and every error says what, why and what to do."""

from __future__ import annotations

import io
import signal
import sys
from enum import IntEnum
from typing import NoReturn

import click

from rotator.cli.hardening import harden
from rotator.cli.say import complain, warn


class Status(IntEnum):
    """Exit statuses. A signal's is 128 + its number."""

    DONE = 0
    TROUBLE = 1  # a person should look
    SETUP = 2  # what was given cannot work: usage, configuration, sealing key, database
    HELD = 75  # another living worker has it: EX_TEMPFAIL of sysexits.h


INTERRUPTED = 128 + signal.SIGINT


def run(command: click.Command, name: str) -> NoReturn:
    """Run a command of this process's arguments and exit. Every command begins here, the daemon too."""
    harden()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character must not stop a rotation
    sys.exit(_status(command, name))


def _status(command: click.Command, name: str) -> int:
    try:
        status = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        warn("More: rotator help E-USAGE")
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        warn(f"{name}: interrupted")
        return INTERRUPTED
    except Exception as problem:  # noqa: BLE001 - the outermost place: every error gets its words
        return told(name, problem)
    return status if isinstance(status, int) else Status.DONE


def told(name: str, problem: Exception) -> Status:
    """Say what went wrong, and give the exit status for it."""
    from rotator import logs
    from rotator.domain.errors import Busy, RotatorError, SetupError

    if isinstance(problem, RotatorError):
        complain(f"{name}: {problem.message}", reason=problem.reason, remedy=problem.remedy)
        if isinstance(problem, SetupError):
            return Status.SETUP
        return Status.HELD if isinstance(problem, Busy) else Status.TROUBLE
    logs.trace(name, problem)
    remedy = "run it again with -v and report what that adds; nothing is lost, `rotate` goes on where it stopped"
    complain(f"{name}: this is a bug: {logs.describe(problem)}", reason="bug", remedy=remedy)
    return Status.TROUBLE

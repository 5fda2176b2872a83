"""What people read: results on stdout, messages on stderr, and never a control character of somebody else's."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from rotator import logs

clean = logs.clean

_PLAIN_SETUP = "setup"  # the reason of errors that have none of their own


def tell(text: str) -> None:
    """A result, on stdout."""
    click.echo(clean(text))


def tell_of_more(command: str, shown: Sequence[str] | None, more: int) -> None:
    """That a page is not all, and what shows the rest."""
    if shown and more:
        tell(f"{more} more: `{command} --after {shown[-1]}`, with the same options")


def warn(text: str) -> None:
    """A message, on stderr."""
    if logs.in_json():
        logs.log.warning("%s", text)
    else:
        click.echo(clean(text), err=True)


def complain(what: str, *, reason: str | None = None, remedy: str | None = None) -> None:
    """What is wrong, where and why, what to do about it, and the code under which there is more."""
    from rotator.cli.reasons import advice
    from rotator.domain.errors import code

    obvious = "\n" in what or reason in (*re.findall(r"\w+", what), _PLAIN_SETUP)
    shown = None if obvious else reason
    warn(f"{what} ({shown})" if shown else what)
    if remedy := remedy or advice(reason):
        warn(f"To do: {remedy}")
    if reason:
        warn(f"More: rotator help {code(reason)}")


def on_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person reads stdout (or stderr) as it is written, on a screen whose cursor can be moved."""
    import os

    return (stream or sys.stdout).isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def can_ask() -> bool:
    """Whether a person is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str) -> bool:
    """Ask on the terminal; no is the default."""
    return click.confirm(clean(question), default=False, err=True)

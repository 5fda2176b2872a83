"""Secret values that a person hands over: typed, hidden, or on stdin; never on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from rotator.cli import say
from rotator.domain.errors import SetupError
from rotator.domain.secret import Material, Secret


def ask(fields: Sequence[str]) -> Material:
    """Ask for each field on the terminal. Raises SetupError where there is none."""
    if not say.can_ask():
        message = "there is no terminal to ask on"
        raise SetupError(message, remedy="give the value on stdin, with --stdin")
    return Material({field: Secret(click.prompt(field, hide_input=True, err=True)) for field in fields})


def read(fields: Sequence[str]) -> Material:
    """Read one line for each field from stdin. Raises SetupError where there are more or fewer, or an empty one."""
    lines = [line.rstrip("\r\n") for line in sys.stdin]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) != len(fields) or not all(lines):
        message = f"stdin has {len(lines)} lines; {len(fields)} are expected: {', '.join(fields)}"
        raise SetupError(message, reason="bad_value")
    return Material({field: Secret(line) for field, line in zip(fields, lines, strict=True)})

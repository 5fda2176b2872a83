"""A command: a program with its arguments, never a shell. It succeeds where it ends with status 0."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from rotator.access.process import Program
from rotator.domain.secret import Material
from rotator.domain.template import PUBLIC, Template
from rotator.ports.hook import Occasion
from rotator.settings import Settings

_SHOWN = 60  # characters of a command line


def _command(arguments: list[str], info: Any) -> list[str]:
    """Public facts alone may stand in arguments, which everybody on the machine can read."""
    for argument in arguments:
        problem = Template(argument).unknown(PUBLIC)
        if problem is not None:
            message = f"{problem}; a secret is never an argument, `stdin` gives it"
            raise ValueError(message)
    program = arguments[0]
    if "/" in program:  # as a path of this file; a name alone is looked for in PATH
        program = str((info.context or {}).get("folder", Path()) / Path(program).expanduser())
    return [program, *arguments[1:]]


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        message = "is a list of names of environment variables; their values are ours"
        raise ValueError(message)
    return name


class CommandSettings(Settings):
    """`{command: [systemctl, reload, web]}`."""

    command: Annotated[
        list[Annotated[str, Field(pattern=r"^[^\x00]*$")]], Field(min_length=1), AfterValidator(_command)
    ]
    env: list[Annotated[str, AfterValidator(_variable)]] | None = None
    stdin: str | None = Field(default=None, min_length=1)


class Command:
    """Runs it."""

    Settings: ClassVar[type[CommandSettings]] = CommandSettings

    def __init__(self, settings: CommandSettings, limit: timedelta) -> None:
        self._settings = settings
        self._limit = limit.total_seconds()

    @property
    def name(self) -> str:
        """The command line with its placeholders, and the program without its folders."""
        program, *arguments = self._settings.command
        line = " ".join(["command", Path(program).name, *arguments])
        return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"

    def trouble(self) -> str | None:
        """Whether the program is there, and executable."""
        return self._program(self._settings.command).missing()

    def run(self, occasion: Occasion) -> None:
        """Run the program to its end."""
        settings, material = self._settings, occasion.material
        public = Material({})
        arguments = [Template(text).render(public, occasion.facts).reveal() for text in settings.command]
        stdin = Template(settings.stdin).render(material, occasion.facts) if settings.stdin is not None else None
        self._program(arguments).run(stdin, material.values())

    def _program(self, arguments: list[str]) -> Program:
        return Program(arguments=arguments, limit=self._limit, passed_on=self._settings.env or ())

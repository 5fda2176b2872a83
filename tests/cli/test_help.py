"""Help costs nothing and leaves nothing out; logs and errors keep secrets."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from rotator import logs
from rotator.cli import COMMANDS, OnDemand, commands, exits, say
from tests.cli.house import ROOT, House

HEAVY = {
    "pydantic",
    "sqlalchemy",
    "rich",
    "yaml",
    "boto3",
    "httpx",
    "hvac",
    "cryptography",
    "alembic",
    "rotator.domain",
}


def every_command() -> list[tuple[str, ...]]:
    """Those of groups included."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = OnDemand.get_command(commands, click.Context(commands), name)
        inner = list(command.commands) if isinstance(command, click.Group) else []
        found += [(name, each) for each in inner] or [(name,)]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_each_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    command: click.Command | None = commands
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    # A command remembers what its first context calls its help, so that has to be as in the program.
    context = click.Context(command, info_name=f"rotator {' '.join(words)}", **commands.context_settings)
    said = command.get_help(context)
    assert "Examples:" in said
    assert f"{words[-1]}" in said.split("Examples:")[1]
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help


@pytest.mark.parametrize("call", ["rotate()", "rotator()"])
def test_help_imports_nothing_heavy(call: str) -> None:
    code = (
        "import atexit, sys; from rotator.cli import rotate, rotator; sys.argv[1:] = ['--help'];"
        f"atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {call}"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ran.stderr.split())
    assert "click" in loaded
    assert not loaded & HEAVY
    assert "Usage: " in ran.stdout


def test_only_the_adapters_that_a_configuration_names_are_imported(house: House) -> None:
    code = (
        "import atexit, sys; from rotator.cli import rotator; sys.argv[1:] = ['status'];"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); rotator()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=house.folder, env=house.environ(), capture_output=True, text=True, check=True
    )
    loaded = set(ran.stderr.split())
    assert {"rotator.providers.generated", "rotator.destinations.env_file"} <= loaded
    assert not loaded & {"boto3", "httpx", "hvac", "rotator.providers.openai", "rotator.destinations.vault_kv"}


def test_a_bug_is_told_by_its_place_and_never_by_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    secret = "sk-a-value-of-somebody"  # what int says of it quotes it
    logs.set_up(1)
    try:
        with pytest.raises(ValueError, match=secret) as problem:
            int(secret)
        status = exits.told("rotate", problem.value)
    finally:
        logs.set_up(0)
    said = capsys.readouterr().err
    assert status == 1
    assert "rotate: this is a bug: ValueError at " in said
    assert "test_help.py" in said
    assert secret not in said


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    assert say.clean("key\x1b[2J\x07 id\r\n\tand more") == "key?[2J? id?\n\tand more"


def test_now_on_a_terminal_is_a_table_that_stays(house: House) -> None:
    ran = house.on_terminal("rotate", "--now", "--all", env={"COLUMNS": "160"})
    assert ran.status == 0
    last = ran.out[ran.out.rindex("environment test, ") :]
    for words in ("credential", "waits for", "web", "mail", "current", "app.env"):
        assert words in last
    assert "test: 2 credentials: 2 rotated" in last
    assert last.count("?25h") == 1  # the cursor is shown again


def test_no_color_is_respected(house: House) -> None:
    house.rotate()
    assert "\x1b[32m" in house.on_terminal("status").out
    assert "\x1b[32m" not in house.on_terminal("status", env={"NO_COLOR": "1"}).out
    assert "\x1b" not in house.on_terminal("status", env={"TERM": "dumb"}).out

"""Tab, in the shells that are here. bash is a must; zsh and fish are given what is click's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.house import House

SCRIPTS = Path(sys.executable).parent
_PRESS_TAB = """
eval "$(rotator completion bash)"
COMP_WORDS=({words}) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )) COMP_TYPE=9
complete -p {program} | grep -o '_{program}_completion' > /dev/null
_{program}_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def tab(house: House, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
    """What bash proposes for the last of these words."""
    quoted = " ".join(f"'{word}'" for word in words)
    environ = house.environ({"PATH": f"{SCRIPTS}:{os.environ['PATH']}", **(env or {})})
    command = ["bash", "-c", _PRESS_TAB.format(words=quoted, program=words[0])]
    ran = subprocess.run(command, cwd=house.folder, env=environ, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return ran.stdout.split()


def test_commands_options_and_choices_are_completed(house: House) -> None:
    assert tab(house, "rotator", "sta") == ["status"]
    assert tab(house, "rotator", "db", "up") == ["upgrade"]
    assert "--now" in tab(house, "rotate", "--n")
    assert tab(house, "rotate", "--fail-on", "ne") == ["new", "never"]


def test_names_of_credentials_are_completed_once_each(house: House) -> None:
    assert tab(house, "rotate", "--now", "") == ["web", "mail"]
    assert tab(house, "rotate", "--now", "web", "") == ["mail"]
    assert tab(house, "rotator", "explain", "w") == ["web"]


def test_of_a_configuration_that_cannot_be_read_nothing_is_proposed_or_said(house: House) -> None:
    house.write("environment: [")
    assert tab(house, "rotator", "explain", "w") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_given_is_for_both_programs(house: House, shell: str) -> None:
    ran = house.run("completion", shell)
    assert ran.status == 0
    assert f"_ROTATOR_COMPLETE={shell}_complete" in ran.out
    assert f"_ROTATE_COMPLETE={shell}_complete" in ran.out


@pytest.mark.parametrize("shell", [name for name in ("bash", "zsh", "fish") if shutil.which(name)])
def test_a_shell_that_is_here_can_read_it(house: House, shell: str) -> None:
    given = house.run("completion", shell).out
    subprocess.run([shell, "-n"], input=given, text=True, check=True, capture_output=True)


def test_another_shell_is_told_which_there_are(house: House) -> None:
    ran = house.run("completion", "tcsh")
    assert ran.status == 2
    assert "'bash', 'zsh', 'fish'" in ran.err

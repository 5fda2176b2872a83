"""Commands are real processes: what they get, how they end, and what is told of them."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rotator.domain.errors import TemporaryError
from rotator.hooks.command import Command
from rotator.ports.hook import Occasion
from tests.conftest import Canaries


def command(*arguments: str, limit: float = 5, **more: Any) -> Command:
    return Command(Command.Settings(command=list(arguments), **more), timedelta(seconds=limit))


def script(text: str, *arguments: str, **more: Any) -> Command:
    """`$0` is the first argument."""
    return command("sh", "-c", text, *arguments, **more)


def failure(hook: Command, occasion: Occasion) -> str:
    with pytest.raises(TemporaryError) as caught:
        hook.run(occasion)
    return caught.value.message


def test_it_gets_public_facts_little_environment_and_an_empty_stdin(
    tmp_path: Path, occasion: Occasion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin")
    monkeypatch.setenv("KUBECONFIG", "/etc/kube")
    out = tmp_path / "out"
    facts = ("{key_id}", "v{version}", "{fingerprint}", "{}", "{{.Names}}")
    script(f'(echo "$@"; cat; pwd; env) >{out}', "x", *facts, env=["KUBECONFIG", "NOT_SET"]).run(occasion)
    arguments, folder, *environment = out.read_text().splitlines()
    assert arguments == "key_7 v7 0a1b {} {{.Names}}"
    assert folder == "/"
    names = {line.partition("=")[0] for line in environment} - {"PWD", "OLDPWD", "SHLVL", "_"}
    assert names == {name for name in ("PATH", "HOME", "LANG") if name in os.environ} | {"KUBECONFIG"}


def test_the_secret_comes_on_stdin_where_that_is_asked_for_and_is_nowhere_else(
    tmp_path: Path, occasion: Occasion, canary: Canaries
) -> None:
    out, seen = tmp_path / "out", tmp_path / "seen"
    hook = script(f"cat >{out}; cat /proc/$$/cmdline /proc/$$/environ >{seen}", stdin="KEY={secret} {version}")
    hook.run(occasion)
    assert out.read_text() == f"KEY={occasion.material['secret'].reveal()} 7"
    assert not canary.found_in(seen.read_bytes())
    assert not canary.found_in(hook.name)


def test_a_failure_names_the_status_and_the_last_line_without_the_secret(
    occasion: Occasion, canary: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "hunter2hunter2")
    says = 'read -r key; echo first >&2; echo "bad $key, $(printf %s "$key" | base64 -w0), $HOOK_TOKEN" >&2; exit 9'
    told = failure(script(says, stdin="{secret}\n", env=["HOOK_TOKEN"]), occasion)
    assert told.startswith("exit status 9: bad …, …")
    assert not canary.found_in(told)
    assert "hunter2" not in told


def test_what_is_cut_off_holds_no_half_of_a_secret(occasion: Occasion, canary: Canaries) -> None:
    endless = 'read -r key; i=0; while [ $i -lt 300 ]; do printf "%s" "$key" >&2; i=$((i+1)); done; exit 1'
    assert failure(script(endless, stdin="{secret}\n"), occasion) == "exit status 1"
    long = "printf 'x%.0s' $(seq 500) >&2; printf '\\n\\033[31m%.0s' 1 >&2; exit 1"
    assert len(failure(script(long), occasion)) < 250
    assert "\033" not in failure(script("printf '\\033[31mred' >&2; exit 1"), occasion)


@pytest.mark.parametrize(
    ("text", "told"),
    [("exit 1", "exit status 1"), ("kill -TERM $$", "killed by SIGTERM"), ("echo out; exit 2", "exit status 2")],
)
def test_how_it_ended_is_told(occasion: Occasion, text: str, told: str) -> None:
    assert failure(script(text), occasion) == told


def test_what_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path, occasion: Occasion) -> None:
    pids = tmp_path / "pids"
    hook = script(f"sleep 60 & echo $! >>{pids}; echo $$ >>{pids}; wait", limit=0.4)
    assert failure(hook, occasion) == "it took longer than 0.4 s and was killed"
    for pid in pids.read_text().split():
        for _ in range(100):
            if gone(int(pid)):
                break
            time.sleep(0.02)
        assert gone(int(pid))


def test_one_that_never_stops_talking_is_killed_too(occasion: Occasion) -> None:
    assert "longer than" in failure(script("while :; do echo talk >&2; done", limit=0.3), occasion)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_it_leaves_in_the_background_is_neither_waited_for_nor_killed(tmp_path: Path, occasion: Occasion) -> None:
    out = tmp_path / "out"
    began = time.monotonic()
    script(f"(sleep 0.5; echo alive >{out}) &").run(occasion)  # it keeps stderr open
    assert time.monotonic() - began < 0.5
    time.sleep(0.7)
    assert out.read_text() == "alive\n"


def test_a_secret_that_nobody_reads_keeps_nobody_waiting(occasion: Occasion) -> None:
    command("true", stdin="{secret}").run(occasion)
    slow = command("sleep", "60", limit=0.3, stdin="{secret}" * 10_000)
    assert "longer than" in failure(slow, occasion)


def test_a_program_that_is_not_there_is_told_before_and_when_it_is_run(tmp_path: Path, occasion: Occasion) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for hook, trouble in (
        (command("no-such-program"), "there is no program no-such-program"),
        (command(str(plain)), f"{plain} is not executable"),
    ):
        assert hook.trouble() == trouble
        assert "cannot be started: " in failure(hook, occasion)
    assert command(sys.executable).trouble() is None


def test_a_path_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    def read(program: str) -> str:
        found = Command.Settings.model_validate({"command": [program]}, context={"folder": tmp_path})
        return found.command[0]

    assert read("./tell") == str(tmp_path / "tell")
    assert read("/bin/tell") == "/bin/tell"
    assert read("tell") == "tell"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [(["tell", "{secret}"], "a secret is never an argument"), ([], "at least 1"), (["tell", "{verson}"], "unknown")],
)
def test_a_secret_among_the_arguments_is_an_error_of_the_configuration(arguments: list[str], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        Command.Settings(command=arguments)

"""The demo's script: what is shown in which order, and what must be true at the end."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from rotator.demo.consumers import Crowd
from rotator.demo.stage import Stage
from rotator.testbed.aws import Aws
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from rotator.testbed.process import NotReady

SIGNALLED = 128
"""Added to a signal's number, it is the exit status that shells expect."""

ROTATED = ("openai-web", "deployer", "session")
VERSIONS = 2
"""How many keys each of them had in the end."""


class Failed(Exception):
    """The demo did not show what it is there to show."""


class Signalled(BaseException):
    """SIGTERM came: end like after Ctrl-C."""


def tell(play: Callable[[Console, Stage], None], *, keep: bool, quick: bool) -> int:
    """Play one story from beginning to end; see `rotator.demo.run`."""
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    status, folder = 1, None
    try:
        with _ended_in_order(), ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="keyturn-demo-"))
            if not keep:
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                play(console, _raise_curtain(console, stack, folder, quick=quick))
                status = 0
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not stop the cleaning up
    except (Failed, NotReady) as problem:
        console.print(f"\n[bold red]The demo failed.[/] {problem}")
    except KeyboardInterrupt:
        console.print("\nInterrupted.")
        status = SIGNALLED + signal.SIGINT
    except Signalled:
        status = SIGNALLED + signal.SIGTERM
    seconds = time.monotonic() - began
    console.print(f"Left behind: {_left_behind(folder)}. {seconds:.0f} s.", style="dim")
    return status


def _raise_curtain(console: Console, stack: ExitStack, folder: Path, *, quick: bool) -> Stage:
    console.print(
        "[bold]keyturn[/] rotates keys, and nobody ever reads a dead one. Real servers, on this machine only."
    )
    openbao = stack.enter_context(OpenBao())
    aws = stack.enter_context(Aws(authentication=True))
    openai = stack.enter_context(OpenAIEmulator())
    stage = Stage.set_up(folder, openbao, aws, openai, quick=quick)
    console.print(f"  OpenBao {openbao.url} · AWS (moto, keys checked) {aws.url} · OpenAI emulator {openai.url}")
    console.print(f"  configuration {stage.configuration}")
    return stage


def play(console: Console, stage: Stage) -> None:
    """The story of the demo: three keys are rotated while they are used."""
    with Crowd(stage.consumers()) as crowd:
        scene(console, "A person once made an OpenAI key and put it into Vault. It is taken over as it is.")
        run(console, stage, "rotator db upgrade")
        run(console, stage, "rotator check")
        run(console, stage, "rotator adopt openai-web")
        scene(console, "One pass, as a CronJob runs it: a first key for those that have none, and the env file's copy.")
        run(console, stage, "rotate")
        scene(console, "Now all three are rotated, while four consumers read and use what they find all along.")
        run(console, stage, f"rotate --now {' '.join(ROTATED)}")
        run(console, stage, "rotator status")
        run(console, stage, "rotator explain openai-web")
        scene(console, "The next pass takes the old keys away: grace, then disabled where that can be, then deleted.")
        run(console, stage, "rotate")
        run(console, stage, "rotator status")
        scene(console, "Every step is in the audit trail, and the trail has not been touched.")
        run(console, stage, "rotator audit verify")
    _judge(console, stage, crowd)


def scene(console: Console, text: str) -> None:
    """What happens next, in words."""
    console.print(f"\n[bold]{text}[/]")


def run(console: Console, stage: Stage, line: str, *, status: int = 0, stdin: str | None = None) -> None:
    """Run a command where the user can see it. Raises Failed where it does not end as it should."""
    console.print(f"[cyan]$ {line}[/]")
    console.file.flush()
    ended, _ = stage.command(line, stdin=stdin)
    if ended != status:
        message = f"`{line}` ended with status {ended}."
        raise Failed(message)


def _judge(console: Console, stage: Stage, crowd: Crowd) -> None:
    """Say what was seen. Raises Failed unless all of it is as promised."""
    wrong = [*crowd.troubles(), *_odd_values(crowd), *_not_rotated(stage), *_still_living(stage)]
    if not crowd.bad:
        console.print("\nThe old keys are gone: one living key at OpenAI, one at AWS.")
    console.print(f"[bold {'red' if crowd.bad else 'green'}]{crowd.proof()}[/]")
    if wrong:
        raise Failed("; ".join(wrong))


def _odd_values(crowd: Crowd) -> Iterator[str]:
    """Every place served one version and then the other, and never anything else."""
    for one in crowd.consumers:
        if len(one.seen) != VERSIONS:
            yield f"{len(one.seen)} different values were seen at {one.address}, {VERSIONS} were issued"


def _not_rotated(stage: Stage) -> Iterator[str]:
    _, printed = stage.command("rotator status --json", capture=True)
    for credential in json.loads(printed)["credentials"]:
        current, previous = credential["current"], credential["previous"]
        if current is None or current["version"] != VERSIONS or previous:
            yield f"{credential['name']} is {credential['status']}: {credential['message']}"


def _still_living(stage: Stage) -> Iterator[str]:
    for account, count in stage.living_keys().items():
        if count != 1:
            yield f"{count} keys live at {account}"


def _left_behind(folder: Path | None) -> str:
    if folder is not None and folder.exists():
        return f"{folder}; `rotator status --config {folder}/rotator.yaml` still works there"
    return "nothing; the servers have ended and the folder is gone"


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """While the block runs, SIGTERM ends it by an exception, as SIGINT does, so that everything is cleaned up."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise Signalled

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Processes of their own for the price of a fork: one server has imported everything, and is forked for each.

A command that is started as users start it needs more than half a second of processor time for its imports.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload(["tests.preloaded"])


def run_command(
    command: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    streams: Path,
    prepare: Callable[[Iterable[str]], None] | None = None,
    given: Iterable[str] = (),
) -> int:
    """Run `rotator …` in a process of its own; its streams are the files `in`, `out` and `err` of a folder.

    `prepare` is called there first, with what is `given`.
    """
    process = forked.Process(target=_command, args=(command, folder, dict(environ), streams, prepare, given))
    process.start()
    process.join(60)
    if process.exitcode is None:
        process.kill()
        message = f"{' '.join(command)} did not end"
        raise TimeoutError(message)
    return process.exitcode


def _command(
    command: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    streams: Path,
    prepare: Callable[[Iterable[str]], None] | None,
    given: Iterable[str],
) -> None:
    from rotator import cli

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    for number, name, flags in ((0, "in", os.O_RDONLY), (1, "out", os.O_WRONLY), (2, "err", os.O_WRONLY)):
        os.dup2(os.open(streams / name, flags | os.O_CREAT, 0o600), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - multiprocessing has closed it
    warnings.simplefilter("error")
    sys.argv = ["rotator", *command]
    if prepare is not None:
        prepare(given)
    cli.rotator()

"""Man pages from what `--help` says: one for each of the two programs, rotator(1) with a section per command.

The requests are those of man(7). `make docs` writes them into deploy/man, and the wheel puts them into share/man.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from rotator import __version__
from rotator.cli import COMMANDS, OnDemand, commands

FOLDER = Path(__file__).parents[2] / "deploy" / "man"

_FILES = """.SH FILES
.TP
\\fI./rotator.yaml\\fR, \\fI/etc/rotator/rotator.yaml\\fR
the configuration, unless \\fB\\-\\-config\\fR or \\fB$ROTATOR_CONFIG\\fR names another
.SH SEE ALSO
"""


def pages() -> dict[str, str]:
    """File name → text, of every page."""
    rotate = _command("rotate")
    context = click.Context(rotate, info_name="rotate", **commands.context_settings)
    first = (rotate.help or "").strip().splitlines()[0]
    page = [_head("rotate", first.rstrip("."))]
    page += [".SH SYNOPSIS", _synopsis(context), ".SH DESCRIPTION", *_described(context)]
    whole = [_head("rotator", "change API keys without an outage"), ".SH SYNOPSIS"]
    whole += ["\\fBrotator\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...", ".SH COMMANDS"]
    for name in COMMANDS:
        for inner in _leaves(_command(name), f"rotator {name}"):
            whole += [f".SS {_plain(inner.info_name or '')}", _synopsis(inner), ".PP", *_described(inner)]
    return {
        "rotate.1": "\n".join(page) + f"\n{_FILES}\\fBrotator\\fR(1)\n",
        "rotator.1": "\n".join(whole) + f"\n{_FILES}\\fBrotate\\fR(1)\n",
    }


def _command(name: str) -> click.Command:
    found = OnDemand.get_command(commands, click.Context(commands), name)
    assert found is not None
    return found


def _leaves(command: click.Command, words: str) -> Iterator[click.Context]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _leaves(inner, f"{words} {name}")
    else:
        yield click.Context(command, info_name=words, **commands.context_settings)


def _head(name: str, summary: str) -> str:
    return f'.TH {name.upper()} 1 "" "keyturn {__version__}" "keyturn"\n.SH NAME\n{name} \\- {_plain(summary)}'


def _synopsis(context: click.Context) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f"\\fB{_plain(context.info_name or '')}\\fR {_plain(pieces)}"


def _described(context: click.Context) -> Iterator[str]:
    command = context.command
    yield from _paragraphs(command.help or "")
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if record is not None and record[1]:
            yield from (".TP", f"\\fB{_plain(record[0])}\\fR", _plain(record[1]))
    yield from _paragraphs(command.epilog or "")


def _paragraphs(text: str) -> Iterator[str]:
    """What click wraps is filled here too, and what it leaves as it is (after \\b) is left so."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.rstrip() for line in paragraph.splitlines()]
        if lines and lines[0].strip() == "\b":
            yield from (".PP", ".nf", *(_plain(line) for line in lines[1:]), ".fi")
        else:
            yield from (".PP", _plain(" ".join(line.strip() for line in lines)))


def _plain(text: str) -> str:
    """Text in which nothing is a request or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def write() -> None:
    """Write them anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")

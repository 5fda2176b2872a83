"""The options that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_VERBOSITY = f"{__name__}.verbosity"


def duration(text: str) -> timedelta:
    """`45s`, `10m`, `1d12h`. Raises BadParameter."""
    from rotator.settings import parse_duration

    try:
        return parse_duration(text)
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from None


def moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """`2026-11-27T04:00:00Z`; without a zone it is UTC. Raises BadParameter."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not a time; write 2026-11-27T04:00:00Z"
        raise click.BadParameter(message) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def address(text: str) -> Any:
    """`127.0.0.1:9464`, `9464`. Raises BadParameter."""
    from rotator.web.server import address as parse

    try:
        return parse(text)
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from None


def _set_up_logs(ctx: click.Context, _param: click.Parameter, form: Any) -> None:
    from rotator import logs

    logs.set_up(ctx.meta[_VERBOSITY], form)


def _note_verbosity(ctx: click.Context, _param: click.Parameter, verbosity: int) -> None:
    ctx.meta[_VERBOSITY] = verbosity


def common(command: Decorated) -> Decorated:
    """`--config`, `-v` and `--log-format`, which every command has."""
    command = click.option(
        "--config",
        metavar="PATH",
        help="The configuration: a file, or a folder of them. "
        "Default: $ROTATOR_CONFIG, ./rotator.yaml, /etc/rotator/rotator.yaml.",
    )(command)
    return verbose(command)


def verbose(command: Decorated) -> Decorated:
    """`-v` and `--log-format`."""
    command = click.option(
        "--log-format",
        "form",
        type=click.Choice(["text", "json"]),
        default="text",
        envvar="ROTATOR_LOG_FORMAT",
        expose_value=False,
        callback=_set_up_logs,
        help="Lines on stderr for people, or one JSON object each. Also $ROTATOR_LOG_FORMAT.",
    )(command)
    return click.option(
        "-v",
        "verbosity",
        count=True,
        is_eager=True,
        expose_value=False,
        callback=_note_verbosity,
        help="Log what happens to stderr; -vv everything. Other libraries' lines stay out.",
    )(command)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
quiet = click.option("--quiet", is_flag=True, help="Say nothing but problems.")
selector = click.option(
    "-l",
    "--selector",
    metavar="LABELS",
    help="Credentials with these labels: team=web,env!=dev; also owner=..., provider=..., name=....",
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A part of a long list of names."""

    limit: int | None
    after: str | None

    def of(self, names: Iterable[str]) -> tuple[list[str], int]:
        """The names that it shows, in their order, and how many come after them."""
        rest = sorted(name for name in set(names) if self.after is None or name > self.after)
        shown = rest[: self.limit]
        return shown, len(rest) - len(shown)


def following(page: Page | None, shown: Sequence[str] | None, more: int) -> dict[str, str | None]:
    """For JSON: what `--after` is to be given next, None at the end; nothing at all where no page was asked for."""
    if page is None:
        return {}
    return {"next": shown[-1] if shown and more else None}


def page(command: Callable[..., int]) -> Callable[..., int]:
    """`--limit` and `--after`; the command is given them as its `page`, None where all is wanted."""

    @click.option("--limit", type=click.IntRange(1), metavar="N", help="Show so many, in the order of their names.")
    @click.option("--after", metavar="NAME", help="Show those that come after this one.")
    @functools.wraps(command)
    def paged(limit: int | None, after: str | None, **given: Any) -> int:
        given["page"] = Page(limit=limit, after=after) if limit or after else None
        return command(**given)

    return paged


reason = click.option("--reason", metavar="TEXT", help="Why; goes into the audit trail.")
yes = click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what it would do and record; touch nothing.")


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a verb is done: in this process, not really, or by the next worker."""

    dry_run: bool = False
    request: bool = False
    timeout: timedelta | None = None

    @property
    def here(self) -> bool:
        """Whether this process does it."""
        return not (self.dry_run or self.request)

    def check(self) -> None:
        """Raise UsageError for what contradicts itself."""
        problem = None
        if self.dry_run and self.request:
            problem = "--dry-run and --request are two ways to do it: use one of them"
        elif self.timeout is not None and not self.request:
            problem = "--timeout goes with --request"
        if problem is not None:
            raise click.UsageError(problem, click.get_current_context())


def manner(command: Callable[..., int]) -> Callable[..., int]:
    """`--dry-run`, `--request` and `--timeout`; the command is given them as its `manner`."""

    @functools.wraps(command)
    def told(*args: Any, dry_run: bool, request: bool, timeout: timedelta | None, **given: Any) -> int:
        found = Manner(dry_run=dry_run, request=request, timeout=timeout)
        found.check()
        return command(*args, manner=found, **given)

    told = click.option("--timeout", type=duration, help="With --request: how long to watch it. Default 10m.")(told)
    request = click.option("--request", is_flag=True, help="Have the next pass do it; needs the database only.")
    return dry_run(request(told))


def require_selection(names: Sequence[str], selector: str | None) -> None:
    """Raise UsageError where neither says what the command is about."""
    if not (names or selector):
        message = "a selection is needed: NAME... or -l LABELS"
        raise click.UsageError(message, click.get_current_context())


def _credential_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
    from rotator.cli.completion import credential_names

    return credential_names(ctx, param, incomplete)


names = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=_credential_names)
name = click.argument("name", metavar="NAME", shell_complete=_credential_names)


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)

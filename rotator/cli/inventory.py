"""The command `inventory`: every key of an account, before anything is trusted with it. It only reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from rotator import wiring
from rotator.cli import options, say, tables, words
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking
from rotator.cli.proposals import proposed
from rotator.config import Config
from rotator.config.adapters import PROVIDER_TYPES, NoAdapter
from rotator.config.problems import did_you_mean, reason
from rotator.domain.errors import RotatorError, SetupError
from rotator.engine.inventory import Places, Row, is_old, is_unused, look_at_places, rows
from rotator.engine.report import stamp
from rotator.ports.provider import Lists

HEADS = ("key", "holder", "age", "last used", "managed", "served at", "notes")
_TIMEOUT = timedelta(seconds=20)

KnownKeys = Callable[[str], Mapping[str, str]]


@click.command(
    epilog=options.examples(
        "rotator inventory --type openai --admin-key env:OPENAI_ADMIN_KEY   no configuration, no database",
        "rotator inventory --type aws-iam                  with the keys that AWS's own tools find",
        "rotator inventory --type aws-iam --set profile=audit --set region=eu-west-1",
        "rotator inventory                                 every provider of the configuration",
        "rotator inventory --provider openai --json",
        "rotator inventory --provider openai --as config   proposals with `first: adopt`",
    )
)
@click.option("--provider", "names", metavar="NAME", multiple=True, help="Of the configuration; repeatable. Else all.")
@click.option("--type", "kind", metavar="TYPE", help="Without a configuration: the provider's type, such as openai.")
@click.option("--admin-key", metavar="REF", help="With --type: where the listing key is: env:NAME or file:PATH.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="With --type: another setting; repeatable.")
@click.option("--as", "shape", type=click.Choice(["table", "config"]), default="table", help="Or entries to configure.")
@options.as_json
@options.common
def inventory(
    names: Sequence[str],
    kind: str | None,
    admin_key: str | None,
    settings: Sequence[str],
    shape: str,
    as_json: bool,
    config: str | None,
) -> int:
    """List every key of the accounts: whose it is, how old, when it was last used, and whether it is managed.

    It reads and never writes: a key that may list is enough, and no sealing key is needed. Where there is a database,
    it is looked up which keys are managed; where credentials name destinations, these are read for who serves which.
    """
    if kind is None and (admin_key or settings):
        message = "--admin-key and --set go with --type"
        raise click.UsageError(message, click.get_current_context())
    if kind is not None and (names or config):
        message = "--type is for an account that no configuration names: leave --provider and --config out"
        raise click.UsageError(message, click.get_current_context())
    if as_json and shape == "config":
        message = "--json and --as config are two forms: use one of them"
        raise click.UsageError(message, click.get_current_context())
    with ExitStack() as open_ones:
        now = datetime.now(UTC)
        if kind is not None:
            given = dict(_setting(each) for each in settings) | ({"admin_key": admin_key} if admin_key else {})
            looked = _look({kind: open_ones.enter_context(_unconfigured(kind, given))}, Places(), None, now)
            loaded = None
        else:
            loaded = configuration(config)
            looked = _configured(loaded, names, now, open_ones)
    if shape == "config":
        for line in proposed(looked.rows, loaded):
            say.tell(line)
    elif as_json:
        click.echo(json.dumps(_as_json(looked, now), indent=2, ensure_ascii=False))
    else:
        _show(looked, now)
    looked.complain()
    return Status.TROUBLE if looked.failed else Status.DONE


@dataclass(frozen=True)
class Looked:
    """All that was found, and what could not be."""

    rows: list[Row]
    failed: list[RotatorError]
    unknown: Sequence[str] = ()  # what could not be told, and why

    def complain(self) -> None:
        """Say what is missing from the list."""
        for line in self.unknown:
            say.warn(f"not told: {line}")
        for problem in self.failed:
            say.complain(problem.message, reason=problem.reason, remedy=problem.remedy)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        message = f"--set takes KEY=VALUE, such as --set region=eu-west-1; {name!r} has no value"
        raise click.UsageError(message, click.get_current_context())
    return name, value


@contextmanager
def _unconfigured(kind: str, given: Mapping[str, str]) -> Iterator[Any]:
    """The account of this type with these settings. Raises SetupError."""
    try:
        adapter = PROVIDER_TYPES.find(kind)
    except NoAdapter as problem:
        message = f"{problem}" + (f" ({problem.hint})" if problem.hint else "")
        raise SetupError(message, reason="usage", remedy="name one of them: --type openai") from None
    from pydantic import ValidationError

    try:
        settings = adapter.Settings.model_validate(given, context={"folder": Path()})
    except ValidationError as problem:
        wrong = {".".join(map(str, error["loc"])) or kind for error in problem.errors(include_url=False)}
        message = f"{kind}: {', '.join(sorted(wrong))}: {reason(problem)}"
        remedy = "give the key that may list with --admin-key env:NAME, other settings with --set KEY=VALUE"
        raise SetupError(message, reason="usage", remedy=remedy) from None
    account = adapter(settings, _TIMEOUT)
    try:
        yield account
    finally:
        account.close()


def _configured(config: Config, names: Sequence[str], now: datetime, open_ones: ExitStack) -> Looked:
    for name in names:
        if name not in config.providers:
            hint = did_you_mean(name, config.providers)
            message = f"the configuration {config.path} has no provider {name}" + (f" ({hint})" if hint else "")
            remedy = f"it has: {', '.join(config.providers) or 'none'}; or list an account without it: --type TYPE"
            raise SetupError(message, reason="usage", remedy=remedy)
    adapters = wiring.Adapters(config)
    open_ones.callback(adapters.close)
    accounts = {name: adapters.account(name) for name in names or config.providers}
    if not names:
        accounts = {name: account for name, account in accounts.items() if isinstance(account, Lists)}
    places = look_at_places(one for one in adapters.managed().values() if one.provider_name in accounts)
    try:
        known_keys: KnownKeys | None = open_ones.enter_context(looking(config)).store.known_keys
    except (SetupError, RotatorError) as problem:
        known_keys = None
        places.trouble.insert(0, f"whether a key is managed, since the database was not read: {problem.message}")
    return _look(accounts, places, known_keys, now)


def _look(accounts: Mapping[str, object], places: Places, known_keys: KnownKeys | None, now: datetime) -> Looked:
    found: list[Row] = []
    failed: list[RotatorError] = []
    for name, account in accounts.items():
        if not isinstance(account, Lists):
            message = f"{name} cannot list the keys of a whole account"
            failed.append(SetupError(message, reason="cannot_list", remedy="`rotator inventory --help` has examples"))
            continue
        try:
            found += rows(name, account.inventory(), places=places, known_keys=known_keys, now=now)
        except RotatorError as problem:
            failed.append(problem)
    if failed and not found:
        raise failed[0]
    return Looked(found, failed, places.trouble)


def _show(looked: Looked, now: datetime) -> None:
    if looked.rows:
        tables.show(HEADS, [_cells(row, now) for row in looked.rows])
    told = [row for row in looked.rows if row.known]
    managed = f"{sum(1 for row in told if row.managed)} managed, " if told else ""
    old = sum(1 for row in looked.rows if is_old(row.listed, now))
    unused = sum(1 for row in looked.rows if is_unused(row.listed, now))
    say.tell(f"{len(looked.rows)} keys: {managed}{old} older than 90 days, {unused} unused for 45 days")


def _cells(row: Row, now: datetime) -> list[str]:
    key = row.key
    used = "not told" if not row.listed.tells_last_use else "never"
    if key.last_used_at is not None:
        by = f" by {key.last_used_by}" if key.last_used_by else ""
        used = f"{words.age((now - key.last_used_at).total_seconds())} ago{by}"
    return [
        key.id + (f" {key.label!r}" if key.label else ""),
        row.listed.holder,
        "not told" if key.created_at is None else words.age((now - key.created_at).total_seconds()),
        used,
        (row.managed or "no") if row.known else "not known",
        ", ".join(row.served_at) or "-",
        ", ".join(row.notes),
    ]


def _as_json(looked: Looked, now: datetime) -> dict[str, Any]:
    keys = [
        {
            "provider": row.provider,
            "account": row.listed.account,
            "key_id": row.key.id,
            "label": row.key.label,
            "holder": row.listed.holder,
            "options": row.listed.options,
            "created_at": stamp(row.key.created_at),
            "age_seconds": None if row.key.created_at is None else int((now - row.key.created_at).total_seconds()),
            "expires_at": stamp(row.key.expires_at),
            "enabled": row.key.enabled,
            "last_used_at": stamp(row.key.last_used_at),
            "last_used_by": row.key.last_used_by,
            "last_used_in": row.key.last_used_in,
            "managed": (row.managed is not None) if row.known else None,
            "credential": row.managed,
            "served_at": list(row.served_at),
            "older_than_90_days": is_old(row.listed, now),
            "unused_for_45_days": is_unused(row.listed, now) if row.listed.tells_last_use else None,
        }
        for row in looked.rows
    ]
    return {"at": stamp(now), "keys": keys, "failed": [p.message for p in looked.failed], "unknown": [*looked.unknown]}

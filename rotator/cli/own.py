"""`status --self`: the credentials that we ourselves use, with their age, their end, and what rotates each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from rotator import wiring
from rotator.cli import say, tables, words
from rotator.cli.exits import Status
from rotator.config import Config
from rotator.config.own import OwnReference, of_config, rotated_by
from rotator.domain.errors import RotatorError
from rotator.ports.ours import Own, Owns
from rotator.settings import format_duration
from rotator.store.ours import own_role

HEADS = ("credential", "where", "age", "expires", "rotated by", "may")
_FILED = "since its file was written"


@dataclass(frozen=True)
class Told:
    """What a service said of our credential there, or why it said nothing."""

    own: Own | None = None
    trouble: str | None = None


def show(config: Config, *, as_json: bool) -> int:
    """Ask each service, and print. Trouble with one is told in its row."""
    now = datetime.now(UTC)
    rows = [_as_json(row, config, now) for row in _rows(config)]
    if as_json:
        told = {"at": now.isoformat().replace("+00:00", "Z"), "environment": config.environment, "own": rows}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return Status.DONE
    say.tell(f"environment {config.environment}, our own credentials")
    tables.show(HEADS, [_cells(row) for row in rows])
    return Status.DONE


def _rows(config: Config) -> Iterator[tuple[str, OwnReference | None, Told]]:
    """One for each secret that the file names; and for what is found without being named, such as an AWS profile."""
    asked = _asked(config)
    listed = list(of_config(config))
    for own in listed:
        entry = ".".join(own.place.split(".")[:2])
        # Of several secrets of one entry the service speaks of the last: an id comes before its secret.
        last = [other for other in listed if f"{other.place}.".startswith(f"{entry}.")][-1:]
        yield own.place, own, asked.get(entry, Told()) if last == [own] else Told()
    named = {".".join(own.place.split(".")[:2]) for own in listed}
    yield from ((entry, None, told) for entry, told in asked.items() if entry not in named)


def _asked(config: Config) -> dict[str, Told]:
    adapters = wiring.Adapters(config)
    owning = {place: adapter for place, adapter in adapters.named() if isinstance(adapter, Owns)}
    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            role = pool.submit(_database, config)
            told = pool.map(_ask, owning.values())
            return {**role.result(), **dict(zip(owning, told, strict=True))}
    finally:
        adapters.close()


def _database(config: Config) -> dict[str, Told]:
    """What the database says of our role; nothing where it is a file."""
    try:
        own = own_role(config.store.resolve())
    except RotatorError as problem:
        return {"store.url": Told(trouble=problem.message)}
    return {} if own is None else {"store.url": Told(own=own)}


def _ask(adapter: Owns) -> Told:
    try:
        return Told(own=next(iter(adapter.own_credentials()), None))
    except RotatorError as problem:
        return Told(trouble=problem.message)


def _as_json(row: tuple[str, OwnReference | None, Told], config: Config, now: datetime) -> dict[str, Any]:
    place, reference, told = row
    own = told.own or Own(what="")
    since, by = own.since, rotated_by(config).get(place)
    filed = _written(reference.file) if since is None and reference is not None and reference.file else None
    born = since or filed
    return {
        "name": place,
        "where": reference.text if reference is not None else "found by the environment",
        "key_id": own.key_id,
        "since": _stamp(born),
        "since_is": None if born is None else "told" if since is not None else "file",
        "age_seconds": None if born is None else int((now - born).total_seconds()),
        "expires_at": _stamp(own.expires_at),
        "may": own.may,
        "rotated_by": by,
        "policy": None if by is None else _policy(config, by),
        "trouble": told.trouble,
    }


def _written(file: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(Path(file).stat().st_mtime, UTC)
    except OSError:
        return None


def _policy(config: Config, name: str) -> str:
    policy = config.credentials[name].policy
    if policy.rotate_every is not None:
        return f"every {format_duration(policy.rotate_every)}"
    return f"cron {policy.cron}" if policy.cron is not None else "by hand"


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    age = "not known" if row["age_seconds"] is None else words.age(row["age_seconds"])
    return [
        row["name"],
        row["where"],
        f"{age} {_FILED}" if row["since_is"] == "file" else age,
        words.moment(row["expires_at"]) if row["expires_at"] else "not known, or never",
        f"{row['rotated_by']}, {row['policy']}" if row["rotated_by"] else "by hand",
        row["trouble"] or row["may"] or "",
    ]

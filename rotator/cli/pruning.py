"""The command `audit prune`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking
from rotator.cli.verifying import address, given_keys, key_option, own_keys, verified
from rotator.config import Config
from rotator.domain.errors import PermanentError, SetupError
from rotator.store import pruning
from rotator.store.anchor import FileAnchor
from rotator.store.store import SqlStore, open_store
from rotator.verifier import sources, words
from rotator.verifier.notes import VerifierKey
from rotator.verifier.trail import Verification


@click.command(
    epilog=options.examples(
        "rotator audit export --output 2025.jsonl && rotator audit prune 2025.jsonl --yes",
        "rotator audit prune 2025.jsonl --keep 90d --dry-run",
    )
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--keep", type=options.duration, default="365d", show_default=True, help="Younger events stay.")
@key_option
@options.dry_run
@options.reason
@options.yes
@options.common
def prune(
    file: str,
    keep: timedelta,
    keys: Sequence[str],
    dry_run: bool,
    reason: str | None,
    yes: bool,
    config: str | None,
) -> int:
    """Take the oldest events out of the database, once FILE, an export of them, is verified.

    Whole segments go, each up to a signed checkpoint; what is young, or something open needs, stays. Keep FILE: without
    it, what has gone can be neither verified nor proved. On PostgreSQL this is done as `store.owner`.
    """
    with looking(configuration(config)) as service:
        loaded, actor = service.config, service.engine.around.actor
        trusted = given_keys(keys) or own_keys(service)
    if not trusted:
        message = "nothing is pruned without signed checkpoints: the configuration names no key that signs the trail"
        raise SetupError(message, reason="no_signing_key", remedy="`audit: {signing_key: …}`; see docs/audit.md")
    exported = _intact(file, file, trusted)
    _intact("the database", address(loaded.store.resolve()), trusted)
    store = open_store(loaded.store.resolve_owner(), new_id=wiring.new_id, environment=loaded.environment)
    try:
        kept = min([*_limits(store, loaded, keep), pruning.Kept(exported.last + 1, f"{file} ends there")])
        going = pruning.segment(store.database, before=kept.seq)
        if going is None:
            say.tell(f"nothing to prune: no segment ends before event {kept.seq}, and from there on: {kept.why}")
            return Status.DONE
        digest = _compared(file, exported.first, going)
        said = f"events {going.first} to {going.last}"
        if dry_run:
            say.tell(f"would prune {said}; those from {kept.seq} on stay: {kept.why}")
            return Status.DONE
        if not yes and not (say.can_ask() and say.agreed(f"Take {said} out of the database? They are in {file}.")):
            message = "nothing was pruned"
            raise SetupError(message, remedy="--yes, where nobody can be asked")
        pruning.prune(store.database, going, digest, actor, reason)
    finally:
        store.close()
    say.tell(f"pruned {said}; keep {file}, whose SHA-256 is {digest}")
    return Status.DONE


def _intact(called: str, name: str, keys: Sequence[VerifierKey]) -> Verification:
    found = verified([name], keys)
    if found.problem is not None:
        message = f"nothing is pruned: {words.broken(found, called)}"
        raise PermanentError(message, reason="broken_chain", remedy="`rotator audit verify`")
    return found


def _limits(store: SqlStore, config: Config, keep: timedelta) -> list[pruning.Kept]:
    mark = FileAnchor(config.store.anchor).read() if config.store.anchor else None
    with store.database.read() as connection:
        found = pruning.limits(connection, store.now() - keep)
    return found if mark is None else [*found, pruning.Kept(mark.seq, "the mark outside the database is there")]


def _compared(file: str, first: int, going: pruning.Segment) -> str:
    """Make sure that the file holds the segment; return its SHA-256 in hex."""
    if first > going.first:
        message = f"nothing is pruned: {file} begins at event {first}, and the database at {going.first}"
        raise SetupError(message, remedy="export anew: `rotator audit export --output FILE`")
    with sources.opened([file]) as opened:
        row = next(islice(opened[0].rows(), going.last - first, None), None)
    if getattr(row, "hash", None) != going.hash:
        message = f"nothing is pruned: event {going.last} in {file} is another one than in the database"
        raise PermanentError(
            message, reason="broken_chain", remedy="it is the export of another database, or of a copy"
        )
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

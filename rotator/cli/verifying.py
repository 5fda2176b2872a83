"""The commands `audit verify` and `audit prove`. What is verified is read by the verifier, not by the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking
from rotator.domain.errors import SetupError
from rotator.store import merkle
from rotator.store.database import parse
from rotator.store.store import SqlStore
from rotator.verifier import sources, words
from rotator.verifier.__main__ import read_checkpoint
from rotator.verifier.events import Row
from rotator.verifier.notes import BadNote, Checkpoint, VerifierKey
from rotator.verifier.proofs import BadProof, Proof
from rotator.verifier.trail import NotCovered, Verification
from rotator.verifier.trail import verify as verify_rows
from rotator.verifier.tree import proved_root

BROKEN = "somebody changed it, or it was restored from a backup: compare it with an export kept elsewhere"

key_option = click.option("--key", "keys", metavar="KEY", multiple=True, help="Who signs: NAME+ID+KEY. Default: us.")
export_option = click.option(
    "--export", "exports", metavar="FILE", multiple=True, help="What was pruned, as it was exported; oldest first."
)


@click.command(
    epilog=options.examples(
        "rotator audit verify",
        "rotator audit verify trail.jsonl",
        "rotator audit verify --against checkpoint.txt      nothing was cut off or rewritten since",
        "rotator audit verify --export 2025.jsonl           with the events that were pruned",
        "rotator audit verify --proof event-41.json         one event, without the rest",
    )
)
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--against", metavar="FILE", multiple=True, help="A checkpoint that was kept elsewhere; - is stdin.")
@export_option
@click.option("--proof", metavar="FILE", help="Only check that one event is in the log, by `rotator audit prove`.")
@key_option
@options.as_json
@options.common
def verify(
    files: Sequence[str],
    against: Sequence[str],
    exports: Sequence[str],
    proof: str | None,
    keys: Sequence[str],
    as_json: bool,
    config: str | None,
) -> int:
    """Check the trail of the database, or of exported FILEs (- for stdin). A broken one exits 1.

    `python -m rotator.verifier` does the same without this service, its configuration and its database.
    """
    if files and exports:
        message = "--export goes with the database; name all files one after the other instead"
        raise click.UsageError(message)
    where = list(files)
    if not files and proof is None:
        with looking(configuration(config)) as service:
            where = [*exports, address(service.config.store.resolve())]
            trusted = given_keys(keys) or own_keys(service)
    elif keys or not (against or proof):
        trusted = given_keys(keys)
    else:
        with looking(configuration(config)) as service:
            trusted = own_keys(service)
    checkpoints = [_checkpoint(name, trusted) for name in against]
    if proof is not None:
        return _proved(proof, trusted, checkpoints)
    found = verified(where, trusted, checkpoints)
    named = " and ".join(files) or "the database"
    if as_json:
        click.echo(json.dumps(words.as_json(found)))
    elif found.problem is None:
        say.tell(words.intact(found, named, signatures=bool(trusted)))
    if found.problem is None:
        return Status.DONE
    say.complain(words.broken(found, named), reason="broken_chain", remedy=BROKEN)
    return Status.TROUBLE


def address(url: str) -> str:
    """A database's URL as the verifier takes it."""
    parsed = parse(url)
    return f"sqlite:///{parsed.database}" if parsed.get_backend_name() == "sqlite" else url


def given_keys(keys: Sequence[str]) -> list[VerifierKey]:
    """Verifier keys of a command line. Raises SetupError."""
    try:
        return [VerifierKey.parse(key) for key in keys]
    except BadNote as problem:
        message = f"--key: {problem}"
        raise SetupError(message, remedy="`rotator audit key` prints it") from None


def own_keys(service: wiring.Service) -> list[VerifierKey]:
    """Those of this installation."""
    return given_keys(wiring.verifier_keys(service.config, service.store))


def _checkpoint(name: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    try:
        return read_checkpoint(name, keys)
    except BadNote as problem:
        remedy = "give the file that `rotator audit checkpoint` wrote, and --key where another key has signed it"
        raise SetupError(str(problem), reason="bad_checkpoint", remedy=remedy) from None


def verified(names: Sequence[str], keys: Sequence[VerifierKey], against: Sequence[Checkpoint] = ()) -> Verification:
    """What the verifier finds in these files and databases. Raises SetupError where it cannot read them."""
    try:
        with sources.opened(names) as opened:
            start, head = sources.start(opened), sources.head(opened)
            return verify_rows(sources.joined(opened), start=start, head=head, keys=keys, against=against)
    except sources.Unreadable as problem:
        raise SetupError(str(problem), remedy="name a file that `rotator audit export` wrote") from None
    except NotCovered as problem:
        message = f"the checkpoint cannot be compared: {problem}"
        raise SetupError(message, reason="pruned", remedy="give their export: --export FILE") from None


def _proved(name: str, keys: Sequence[VerifierKey], against: Sequence[Checkpoint]) -> int:
    if not keys:
        message = "without a key nothing is proved"
        raise SetupError(message, reason="no_signing_key", remedy="give --key NAME+ID+KEY, from `rotator audit key`")
    try:
        proof = Proof.parse(_read(name, "rotator audit prove"))
        seq = proof.check(keys, against)
    except BadProof as problem:
        remedy = "ask for the proof anew, or compare it with the checkpoint that you keep"
        say.complain(f"{name} proves nothing: {problem}", reason="bad_proof", remedy=remedy)
        return Status.TROUBLE
    say.tell(f"event {seq} is in the log {proof.checkpoint.origin} of {proof.checkpoint.size} events")
    click.echo(proof.body.decode())
    return Status.DONE


@click.command(
    epilog=options.examples(
        "rotator audit prove 41 > event-41.json",
        "rotator audit prove 41 --checkpoint kept.txt > event-41.json",
    )
)
@click.argument("seq", type=click.IntRange(min=1))
@click.option("--checkpoint", metavar="FILE", help="The one that the reader keeps. Default: the newest of the trail.")
@export_option
@options.common
def prove(seq: int, checkpoint: str | None, exports: Sequence[str], config: str | None) -> int:
    """Print the proof that event SEQ is in the log, as JSON: shows that event, and of the others only hashes."""
    with looking(configuration(config)) as service:
        names = [*exports, address(service.config.store.resolve())]
        note = _read(checkpoint, "rotator audit checkpoint") if checkpoint else _newest(service.store)
    signed = _parsed(note, checkpoint or "the newest checkpoint")
    if seq > signed.size:
        message = f"the checkpoint is of {signed.size} events, and event {seq} came later"
        raise SetupError(message, reason="not_covered", remedy="sign one: `rotator audit checkpoint --now`")
    with sources.opened(names) as opened:
        start = sources.start(opened)
        bodies = [row.body.decode() for row in sources.joined(opened) if isinstance(row, Row)]
    if seq <= start.after:
        message = f"event {seq} was pruned: events 1 to {start.after} are in their export"
        raise SetupError(message, reason="pruned", remedy="give it: --export FILE")
    try:
        path = merkle.path(seq - 1, signed.size, bodies, start.after, [subtree.hex() for subtree in start.subtrees])
        body = bodies[seq - 1 - start.after]
        leads_to = proved_root(body.encode(), seq - 1, signed.size, [bytes.fromhex(step) for step in path])
    except LookupError:
        leads_to = b""
    if leads_to != signed.root:
        message = f"event {seq} cannot be proved: the trail is not the one that the checkpoint was signed of"
        raise SetupError(message, reason="broken_chain", remedy="`rotator audit verify --against FILE` says where")
    told = {"seq": seq, "body": body, "path": path, "checkpoint": note}
    click.echo(json.dumps(told, ensure_ascii=False))
    return Status.DONE


def _read(name: str, wrote: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as problem:
        message = f"cannot read {name}: {getattr(problem, 'strerror', None) or 'it is not UTF-8 text'}"
        raise SetupError(message, remedy=f"name a file that `{wrote}` wrote") from None


def _newest(store: SqlStore) -> str:
    found = store.last_checkpoint()
    if found is None:
        message = "no checkpoint of the trail was ever signed"
        raise SetupError(message, reason="not_covered", remedy="sign one: `rotator audit checkpoint --now`")
    return found.note


def _parsed(note: str, name: str) -> Checkpoint:
    try:
        return Checkpoint.parse(note)
    except BadNote as problem:
        message = f"{name}: {problem}"
        raise SetupError(message, reason="bad_checkpoint") from None

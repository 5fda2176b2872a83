"""`python -m rotator.verifier`: a trail or a proof is checked, and nothing of the service is needed for it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import sources, words
from .notes import BadNote, Checkpoint, VerifierKey
from .proofs import BadProof, Proof
from .trail import NotCovered, verify

INTACT, BROKEN, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the command line names. 0 intact, 1 broken, 2 where it cannot be checked."""
    asked = _parser().parse_args(arguments)
    try:
        keys = [VerifierKey.parse(_value(text)) for text in asked.key]
        against = [read_checkpoint(name, keys) for name in asked.against]
        if asked.proof is not None:
            return _prove(asked.proof, keys, against)
        if not asked.source:
            return _cannot("name what to verify: an export, a SQLite file, or env:NAME of a database's URL")
        with sources.opened([_value(name) for name in asked.source]) as opened:
            start = sources.start(opened)
            head = sources.head(opened)
            found = verify(sources.joined(opened), start=start, head=head, keys=keys, against=against)
            where = " and ".join(source.name for source in opened)
    except (BadNote, NotCovered, sources.Unreadable) as problem:
        return _cannot(str(problem))
    except BadProof as problem:
        print(f"{asked.proof} proves nothing: {problem}", file=sys.stderr)
        return BROKEN
    if asked.json:
        print(json.dumps(words.as_json(found)))
    elif found.problem is None:
        print(words.intact(found, where, signatures=bool(keys)))
    if found.problem is not None:
        print(words.broken(found, where), file=sys.stderr)
    return INTACT if found.problem is None else BROKEN


def read_checkpoint(name: str, keys: Sequence[VerifierKey]) -> Checkpoint:
    """A checkpoint that was kept elsewhere: nothing is compared with it before its signature is right.

    Raises BadNote, with the file's name.
    """
    try:
        note = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        checkpoint = Checkpoint.parse(note.decode())
        if not keys:
            message = "without a key its signature cannot be checked: give --key NAME+ID+KEY, from `rotator audit key`"
            raise BadNote(message)
        checkpoint.check(keys)
    except OSError as problem:
        message = f"cannot read the checkpoint {name}: {problem.strerror}"
        raise BadNote(message) from None
    except ValueError as problem:
        message = f"the checkpoint {name}: {'it is not UTF-8 text' if isinstance(problem, UnicodeError) else problem}"
        raise BadNote(message) from None
    return checkpoint


def _prove(name: str, keys: Sequence[VerifierKey], against: Sequence[Checkpoint]) -> int:
    if not keys:
        return _cannot("without a key nothing is proved: give --key NAME+ID+KEY, from `rotator audit key`")
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as problem:
        return _cannot(f"cannot read {name}: {getattr(problem, 'strerror', None) or 'it is not UTF-8 text'}")
    proof = Proof.parse(text)
    seq = proof.check(keys, against)
    print(f"event {seq} is in the log {proof.checkpoint.origin} of {proof.checkpoint.size} events")
    print(proof.body.decode())
    return INTACT


def _value(text: str) -> str:
    """`env:NAME` keeps what may hold a password out of the list of processes."""
    if not text.startswith("env:"):
        return text
    value = os.environ.get(text[4:])
    if not value:
        message = f"the environment variable {text[4:]} is not set"
        raise sources.Unreadable(message)
    return value


def _cannot(message: str) -> int:
    print(message, file=sys.stderr)
    return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rotator.verifier",
        description="Check an audit trail without the service that wrote it.",
        epilog="Exit status: 0 intact; 1 broken; 2 it could not be checked.",
    )
    source_help = "exports (JSON lines; - is stdin), oldest first; a SQLite file, or env:NAME of a database's URL, last"
    parser.add_argument("source", nargs="*", metavar="SOURCE", help=source_help)
    parser.add_argument(
        "--key", action="append", default=[], metavar="KEY", help="who signs: NAME+ID+KEY; may be repeated"
    )
    against_help = "a checkpoint that was kept elsewhere; may be repeated"
    parser.add_argument("--against", action="append", default=[], metavar="FILE", help=against_help)
    parser.add_argument("--proof", metavar="FILE", help="check that one event is in the log, by `rotator audit prove`")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


if __name__ == "__main__":
    sys.exit(main())

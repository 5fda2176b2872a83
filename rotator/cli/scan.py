"""The command `scan`: keys where they do not belong, found by fingerprint, told without any of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rotator import wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration
from rotator.config.own import files_of
from rotator.domain.errors import RotatorError
from rotator.domain.model import Version
from rotator.domain.secret import without_secrets
from rotator.scanning import sarif, sources
from rotator.scanning.scan import Hit, Search, Searched, run
from rotator.scanning.sources import LARGEST, Batch, LeftOut, Piece
from rotator.wiring import Adapters, Service


@dataclass(frozen=True)
class Found:
    """A hit, and what is on record about the key: its credential and version, or nothing."""

    hit: Hit
    credential: str | None = None
    version: Version | None = None
    at_a_place: bool = False  # of a destination's server, which no destination of the credential names

    @property
    def rule(self) -> str:
        """`managed-key` or `unknown-key`."""
        return "unknown-key" if self.version is None else "managed-key"

    @property
    def what(self) -> str:
        """In words."""
        if self.version is None:
            return f"looks like a key of {self.hit.provider} that is not managed here"
        encoded = "" if self.hit.encoding == "plain" else f", in {self.hit.encoding}"
        number, state = self.version.number, self.version.state
        return f"version {number} of {self.credential} ({state}, {self.version.key_id}{encoded})"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.version is None:
            return "revoke it at its provider, or manage it: `rotator adopt`"
        if self.version.state.living and self.at_a_place:
            return f"add the place to the destinations of {self.credential}, which the next rotation else forgets"
        if not self.version.state.living:
            return "the key works no more; take the copy away all the same"
        key = self.version.key_id
        return f"if others could read it: `rotate --compromised {self.credential} --key {key}`; else take the copy away"

    def as_json(self) -> dict[str, Any]:
        """One finding, all keys always present."""
        hit, version = self.hit, self.version
        return {
            "rule": self.rule,
            "file": hit.where,
            "line": hit.line,
            "column": hit.column,
            "commit": hit.commit,
            "encoding": hit.encoding,
            "credential": self.credential,
            "version": version.number if version else None,
            "state": version.state.value if version else None,
            "key_id": version.key_id if version else None,
            "fingerprint": hit.fingerprint,
            "provider": hit.provider,
            "message": self.what,
            "remedy": self.remedy,
        }


@click.command(
    epilog=options.examples(
        "rotator scan .",
        "rotator scan --history --sarif . > leaks.sarif",
        "rotator scan --destinations                      copies in Vault, Secrets Manager and env files",
        "kubectl get secrets -A -o yaml | rotator scan -",
    )
)
@click.argument("paths", metavar="PATH...", nargs=-1)
@click.option("--destinations", "places", is_flag=True, help="Also all that our destinations' servers let us list.")
@click.option("--history", is_flag=True, help="Every commit of the paths' git repositories as well.")
@click.option("--no-ignore", "ignored", is_flag=True, help="Also what git's ignore files name.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Processes at once. Default: one for each core.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0 instead of text.")
@options.as_json
@options.quiet
@options.common
def scan(
    paths: tuple[str, ...],
    places: bool,
    history: bool,
    ignored: bool,
    jobs: int | None,
    as_sarif: bool,
    as_json: bool,
    quiet: bool,
    config: str | None,
) -> int:
    """Search files, folders, archives, git history and stdin (-) for our keys, current and past ones.

    Keys are known by their fingerprints, and found plain and in base64, URL- and JSON-escaped form. This needs the
    database and the sealing key. What looks like an OpenAI, Anthropic or AWS key that is not managed is told as well.
    The destinations of a key are no leaks. --destinations looks through the Vault mounts, the accounts of Secrets
    Manager and the folders of env files of the configuration, for copies in places that no destination names: the
    next rotation would forget them. Exit status 1 where anything is found, or a server cannot be asked. No key is ever
    printed, and nothing is changed.
    """
    if not paths and not places:
        message = "name what is to be searched: PATHs, - for stdin, or --destinations"
        raise click.UsageError(message)
    if as_json and as_sarif:
        message = "--json and --sarif are two forms: use one of them"
        raise click.UsageError(message)
    with wiring.opened(configuration(config), wiring.surroundings(), dry=True) as service:
        scanned = _Scanned(service, say_progress=not quiet and say.on_terminal(sys.stderr))
        batches = _batches(paths, history=history, ignored=ignored)
        jobs = jobs or min(os.cpu_count() or 1, 16)
        for searched in run(scanned.search, batches, jobs):
            scanned.take(searched)
        if places:
            scanned.survey(service.adapters)
    scanned.tell(as_json=as_json, as_sarif=as_sarif, quiet=quiet)
    return Status.TROUBLE if scanned.found or scanned.failed else Status.DONE


def _batches(paths: Sequence[str], *, history: bool, ignored: bool) -> Iterator[Batch]:
    if "-" in paths:
        yield Piece("stdin", sys.stdin.buffer.read(LARGEST))
    named = [path for path in paths if path != "-"]
    yield from sources.files(named, ignored=ignored)
    if history:
        yield from sources.history(named)


class _Scanned:
    """What has come of a scan so far."""

    def __init__(self, service: Service, *, say_progress: bool) -> None:
        store = service.store
        self._known = store.fingerprints()
        ids = frozenset(version.key_id for _, version in self._known.values() if version.key_id)
        self.search = Search(store.fingerprint.of, frozenset(self._known), ids)
        self._places = _places(service)
        self._progress = say_progress
        self.found: list[Found] = []
        self.left_out: list[LeftOut] = []
        self.failed: list[RotatorError] = []  # of servers that could not be looked through
        self.pieces = self.size = 0

    def take(self, searched: Searched, identity: str | None = None) -> None:
        """Add what came of a batch: of files, or of the place that has this identity."""
        for hit in searched.hits:
            name, version = self._known.get(hit.fingerprint or "", (None, None))
            at = identity or str(Path(hit.where).absolute())
            if hit.commit is None and (at, name) in self._places:
                continue
            self.found.append(Found(hit, name, version, at_a_place=identity is not None))
        self.left_out += searched.left_out
        self.pieces += searched.pieces
        self.size += searched.size
        if self._progress:
            click.echo(f"\r{self.pieces} texts, {len(self.found)} found", nl=False, err=True)

    def survey(self, adapters: Adapters) -> None:
        """Search what the destinations' servers hold."""
        for server, paths in adapters.surveyed():
            try:
                for held in server.survey(paths):
                    if isinstance(held, RotatorError):
                        self.left_out.append(LeftOut(held.message, held.remedy or "look at it by hand"))
                        continue
                    self.take(self.search.batch(sources.standing(held)), held.identity)
            except RotatorError as problem:
                self.failed.append(problem)

    def tell(self, *, as_json: bool, as_sarif: bool, quiet: bool) -> None:
        """Print it."""
        if self._progress:
            click.echo("\r\033[K", nl=False, err=True)
        found = sorted(self.found, key=lambda one: (one.hit.where, one.hit.commit or "", one.hit.line, one.hit.column))
        rows = [one.as_json() for one in found]
        left_out = [{"file": one.where, "why": one.why} for one in self.left_out]
        if as_json:
            failed = [problem.message for problem in self.failed]
            counted = {"texts": self.pieces, "bytes": self.size}
            _print({"findings": rows, "left_out": left_out, "failed": failed, **counted})
        elif as_sarif:
            _print(sarif.document(rows))
        else:
            for row in rows:
                commit = f" in commit {row['commit']}" if row["commit"] else ""
                say.tell(without_secrets(f"{row['file']}:{row['line']}:{row['column']}{commit}: {row['message']}"))
            for remedy in dict.fromkeys(row["remedy"] for row in rows):
                say.warn(f"To do: {remedy}")
        for problem in self.failed:
            say.warn(f"Not searched: {problem.message}" + (f"; {problem.remedy}" if problem.remedy else ""))
        if not quiet:
            what = ", ".join(sorted({one.why for one in self.left_out}))
            left = f"; {len(self.left_out)} left out ({what})" if self.left_out else ""
            say.warn(f"{len(rows)} found in {self.pieces} texts, {self.size / 1e6:.1f} MB{left}")


def _print(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2))


def _places(service: Service) -> set[tuple[str, str | None]]:
    """Where a credential's keys belong: the identities of its places, and the paths of files."""
    config = service.config
    files = {
        (file, name)
        for name, credential in config.credentials.items()
        for file in files_of(credential, config.destinations).values()
    }
    return files | {(target.destination.identity, name) for name, m in service.managed.items() for target in m.targets}

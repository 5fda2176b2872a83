"""The search itself: pieces are cut into candidates, and each is looked up by its fingerprint, on all cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

from rotator.domain.candidates import PLAIN, candidates
from rotator.scanning.patterns import unknown
from rotator.scanning.sources import Batch, LeftOut, Piece

_REMEMBERED = 1_000_000  # candidates that were tried, in each process

FingerprintOf = Callable[[bytes], str]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Where a key stands. Never the key."""

    where: str
    line: int
    column: int
    encoding: str
    commit: str | None
    fingerprint: str | None  # of one of ours; None: unknown, and only looks like a key
    provider: str | None = None  # whose it looks like


@dataclass(frozen=True)
class Searched:
    """What came of one batch."""

    hits: tuple[Hit, ...]
    left_out: tuple[LeftOut, ...]
    pieces: int
    size: int


class Search:
    """Looks for known fingerprints. `known_ids` are public ids of our keys, which are no unknown keys."""

    def __init__(self, fingerprint: FingerprintOf, known: frozenset[str], known_ids: frozenset[str]) -> None:
        self._fingerprint = fingerprint
        self._known = known
        self._known_ids = known_ids
        self._seen: dict[bytes, str | None] = {}

    def piece(self, piece: Piece) -> list[Hit]:
        """All hits in one text, each place once, in the order of the text."""
        found: dict[tuple[int, str], Hit] = {}
        ours: set[bytes] = set()
        for candidate in candidates(piece.text):
            fingerprint = self._of(candidate.value)
            if fingerprint is None:
                continue
            start = candidate.start
            if candidate.encoding == PLAIN:
                start = max(piece.text.find(candidate.value, start), start)
                ours.add(candidate.value)
            found.setdefault((start, fingerprint), _hit(piece, start, candidate.encoding, fingerprint=fingerprint))
        for start, text, provider in unknown(piece.text):
            if text not in ours and text.decode() not in self._known_ids:
                found.setdefault((start, provider), _hit(piece, start, PLAIN, provider=provider))
        return [hit for _, hit in sorted(found.items(), key=lambda item: item[0])]

    def _of(self, value: bytes) -> str | None:
        if value not in self._seen:
            if len(self._seen) > _REMEMBERED:
                self._seen.clear()
            fingerprint = self._fingerprint(value)
            self._seen[value] = fingerprint if fingerprint in self._known else None
        return self._seen[value]

    def batch(self, batch: Batch) -> Searched:
        """One batch."""
        hits: list[Hit] = []
        left_out: list[LeftOut] = []
        count = size = 0
        for piece in (batch,) if isinstance(batch, Piece) else batch.pieces():
            if isinstance(piece, LeftOut):
                left_out.append(piece)
                continue
            count, size = count + 1, size + len(piece.text)
            hits += self.piece(piece)
        return Searched(tuple(hits), tuple(left_out), count, size)


def _hit(
    piece: Piece, start: int, encoding: str, *, fingerprint: str | None = None, provider: str | None = None
) -> Hit:
    row = piece.text.count(b"\n", 0, start)
    column = start - (piece.text.rfind(b"\n", 0, start) + 1) + 1
    return Hit(
        where=piece.where,
        line=piece.lines[row] if row < len(piece.lines) else row + 1,
        column=column,
        encoding=encoding,
        commit=piece.commit,
        fingerprint=fingerprint,
        provider=provider,
    )


_search: Search | None = None


def _begin(search: Search) -> None:
    global _search  # noqa: PLW0603 - one search per process of the pool; it must not travel with every batch
    _search = search


def _one(batch: Batch) -> Searched:
    assert _search is not None
    return _search.batch(batch)


def run(search: Search, batches: Iterable[Batch], workers: int) -> Iterator[Searched]:
    """Search the batches, `workers` at once; with one worker in this process. No more than a few are in memory."""
    if workers == 1:
        yield from map(search.batch, batches)
        return
    # By fork, the pepper is inherited and never written to a pipe.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(search,)) as pool:
        waiting: set[Future[Searched]] = set()
        for batch in batches:
            waiting.add(pool.submit(_one, batch))
            if len(waiting) >= 4 * workers:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in waiting)

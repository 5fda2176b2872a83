"""The walk along a trail: each event by itself, the chain, the tree, and the checkpoints that were signed of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .events import Malformed, Row, read, row_of
from .notes import BadNote, Checkpoint, VerifierKey
from .tree import Tree

BEFORE_THE_FIRST = "0" * 64
CHECKPOINT = "checkpoint.succeeded"
PRUNE = "prune.succeeded"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Where a trail is wrong first, and how.

    `kind` is one of: `changed` (an event is not what was written), `missing`, `repeated`, `out_of_order`, `unlinked`
    (an event and the one before it do not belong together), `head` (the database remembers another end),
    `bad_checkpoint` (it is not signed as it must be), `other_tree` (a checkpoint was signed of other events), `regress`
    (a checkpoint covers events that are not there).
    """

    kind: str
    seq: int
    message: str
    last: int | None = None  # of a range that begins at `seq`


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome: `count` events from `first` on are right, and what is wrong after them."""

    count: int
    head_hash: str  # of the last one of these
    first: int = 1  # the events before it were pruned
    root: str = field(default="", compare=False)  # of the tree up to there, hex
    checkpoints: int = field(default=0, compare=False)  # that stand in the trail and are right
    problem: Problem | None = None

    @property
    def last(self) -> int:
        """The last event that is right."""
        return self.first + self.count - 1


@dataclass(frozen=True)
class Start:
    """What comes before the first event: nothing, or what was pruned."""

    after: int = 0
    hash: str = BEFORE_THE_FIRST
    subtrees: Sequence[bytes] = ()

    @classmethod
    def pruned(cls, event: Mapping[str, Any]) -> Start | None:
        """As the event of a prune tells it; None where it does not."""
        try:
            detail = event["detail"]
            start = cls(int(detail["last"]), str(detail["hash"]), [bytes.fromhex(text) for text in detail["tree"]])
            Tree(start.after, start.subtrees)
        except (KeyError, TypeError, ValueError):
            return None
        return start


@dataclass(frozen=True)
class Head:
    """The end of the trail as a database remembers it apart from the events."""

    seq: int
    hash: str
    subtrees: Sequence[bytes] | None = None  # None: not known


class NotCovered(ValueError):
    """A checkpoint covers only events that were pruned: their export is needed to check it."""


def verify(
    rows: Iterable[Row | Malformed],
    *,
    start: Start | None = None,
    head: Head | None = None,
    keys: Sequence[VerifierKey] = (),
    against: Sequence[Checkpoint] = (),
) -> Verification:
    """Check a trail that begins after `start`, to its end, and against checkpoints that were kept elsewhere.

    Without `keys` no signature is checked. A cut tail is seen only by `head` or `against`. Raises NotCovered.
    """
    walk = _Walk(start or Start(), keys, against)
    stream = iter(rows)
    problem = walk.early()
    for row in stream if problem is None else ():
        problem = walk.step(row)
        if problem is not None:
            problem = _named(problem, walk.seq + 1, stream)
            break
    if problem is None:
        problem = walk.end(head)
    return Verification(
        count=walk.seq - walk.start.after,
        head_hash=walk.hash,
        first=walk.start.after + 1,
        root=walk.tree.root().hex(),
        checkpoints=walk.checkpoints,
        problem=problem,
    )


class _Walk:
    """How far a trail is right."""

    def __init__(self, start: Start, keys: Sequence[VerifierKey], against: Sequence[Checkpoint]) -> None:
        self.start = start
        self.seq, self.hash = start.after, start.hash
        self.tree = Tree(start.after, start.subtrees)
        self.checkpoints = 0
        self._keys = keys
        self._against: dict[int, list[Checkpoint]] = {}
        for checkpoint in against:
            self._against.setdefault(checkpoint.size, []).append(checkpoint)
        if any(size < start.after for size in self._against):
            message = f"it covers only events up to {min(self._against)}, and those up to {start.after} were pruned"
            raise NotCovered(message)

    def early(self) -> Problem | None:
        """What is wrong before the first event."""
        return self._compare() if self.seq in self._against else None

    def step(self, row: Row | Malformed) -> Problem | None:
        """Go on by one event, or say why not."""
        seq = self.seq + 1
        try:
            if isinstance(row, Malformed):
                raise row
            event = read(row)
        except Malformed as malformed:
            return Problem(kind="changed", seq=seq, message=str(malformed))
        problem = self._place(event, seq) or _beside(row, event, seq)
        if problem is None and event["event"] == CHECKPOINT:
            problem = self._inside(event, seq)
        if problem is not None:
            return problem
        self.seq, self.hash = seq, row.hash
        self.tree.add(row.body)
        return self._compare() if seq in self._against else None

    def _place(self, event: Mapping[str, Any], seq: int) -> Problem | None:
        found = event["seq"]
        if found != seq:
            return Problem(kind="out_of_order", seq=seq, last=found if isinstance(found, int) else None, message="")
        if event["previous_hash"] != self.hash:
            message = "it does not follow the event before it: one of the two is not the one that was written"
            return Problem(kind="unlinked", seq=seq, message=message)
        return None

    def _inside(self, event: Mapping[str, Any], seq: int) -> Problem | None:
        """A checkpoint that stands in the trail: it is of all events before it."""
        detail = event["detail"]
        try:
            checkpoint = Checkpoint.parse(str(detail.get("checkpoint") if isinstance(detail, dict) else None))
            if self._keys:
                checkpoint.check(self._keys)
        except BadNote as bad:
            return Problem(kind="bad_checkpoint", seq=seq, message=f"the checkpoint in it is wrong: {bad}")
        if checkpoint.size != self.tree.size:
            message = f"the checkpoint in it is of {checkpoint.size} events, and stands after {self.tree.size}"
            return Problem(kind="bad_checkpoint", seq=seq, message=message)
        if checkpoint.root != self.tree.root():
            message = "the checkpoint in it was signed of other events than those before it: they were written anew"
            return Problem(kind="other_tree", seq=seq, message=message)
        self.checkpoints += 1
        return None

    def _compare(self) -> Problem | None:
        """Checkpoints that were kept elsewhere, with the tree as it is now."""
        if all(checkpoint.root == self.tree.root() for checkpoint in self._against.pop(self.tree.size)):
            return None
        message = f"the checkpoint of {self.tree.size} events was signed of others than these: they were written anew"
        return Problem(kind="other_tree", seq=self.tree.size, message=message)

    def end(self, head: Head | None) -> Problem | None:
        """What is wrong at the end."""
        if self._against:
            size = max(self._against)
            message = f"the checkpoint covers {size} events: {_span(self.seq + 1, size)} at the end"
            return Problem(kind="regress", seq=self.seq + 1, last=size, message=message)
        return None if head is None else self._compare_end(head)

    def _compare_end(self, head: Head) -> Problem | None:
        """With what the database remembers of it."""
        if self.seq < head.seq:
            message = f"{_span(self.seq + 1, head.seq)} at the end"
            return Problem(kind="missing", seq=self.seq + 1, last=head.seq, message=message)
        if self.seq > head.seq:
            message = "there are events after the one that the head remembers"
            return Problem(kind="head", seq=head.seq + 1, message=message)
        if self.hash != head.hash:
            return Problem(kind="head", seq=self.seq, message="its hash is not the one that the head remembers")
        if head.subtrees is not None and list(head.subtrees) != list(self.tree.subtrees):
            message = "the tree that the head remembers is not that of these events"
            return Problem(kind="head", seq=self.seq, message=message)
        return None


def _beside(row: Row, event: Mapping[str, Any], seq: int) -> Problem | None:
    """What a database says of an event beside its text, for searching, must be what the text says."""
    if row.number is not None and row.number != seq:
        return Problem(kind="changed", seq=seq, message=f"it stands at number {row.number}")
    if row.columns is None:
        return None
    for name, value in zip(("at", "event", "credential", "rotation"), row.columns, strict=True):
        if event[name] != value:
            return Problem(kind="changed", seq=seq, message=f"its column {name} is not what its text says")
    return None


def _named(problem: Problem, seq: int, rest: Iterator[Row | Malformed]) -> Problem:
    """An event at the place of another: that one is missing, or elsewhere, or this one stands twice."""
    if problem.kind != "out_of_order":
        return problem
    found = problem.last
    if found is None or found < seq:
        message = f"event {found} stands here once more: it was put in, or copied"
        return Problem(kind="repeated", seq=seq, message=message)
    elsewhere = any(seq <= number < found for number in map(_number, rest) if number is not None)
    if elsewhere:
        return Problem(kind="out_of_order", seq=seq, message=f"event {found} stands here, before those that precede it")
    return Problem(kind="missing", seq=seq, last=found - 1, message=f"{_span(seq, found - 1)} here")


def _number(row: Row | Malformed) -> int | None:
    try:
        number = read(row)["seq"] if isinstance(row, Row) else None
    except Malformed:
        return None
    return number if isinstance(number, int) else None


def _span(first: int, last: int) -> str:
    return f"event {first} is missing" if first == last else f"events {first} to {last} are missing"


# what is at hand within the same process


class Stored(Protocol):
    """An event as a store gives it."""

    @property
    def seq(self) -> int:
        """Its number."""
        ...

    @property
    def body(self) -> str:
        """Its text."""
        ...

    @property
    def hash(self) -> str:
        """Its hash."""
        ...


class Chain(Protocol):
    """A store with a trail."""

    def events(self, after: int = 0) -> Iterator[Stored]:
        """All events, in order."""
        ...

    def head(self) -> tuple[int, str]:
        """Seq and hash of the last event."""
        ...


def verify_store(store: Chain, keys: Sequence[VerifierKey] = ()) -> Verification:
    """Check the trail of a store that is open, from its first event on, and its checkpoints where `keys` are given."""
    head = Head(*store.head())
    rows = (Row(e.body.encode("utf-8", "surrogatepass"), e.hash, e.seq) for e in store.events())
    return verify(rows, head=head, keys=keys)


def verify_lines(lines: Iterable[str]) -> Verification:
    """Check the lines of an export, from its first event on."""
    return verify(parsed(line.encode("utf-8", "surrogateescape") for line in lines))


def parsed(lines: Iterable[bytes]) -> Iterator[Row | Malformed]:
    """The lines of an export as rows."""
    for line in lines:
        try:
            yield row_of(line)
        except Malformed as malformed:
            yield malformed

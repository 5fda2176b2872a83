"""The verifier: events per second, and against the least that could be done: parsing each line and hashing it once."""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import Goal, Goals, Results, cost, parser
from rotator.domain.secret import Secret
from rotator.ports.store import NewEvent
from rotator.store import audit, merkle
from rotator.store.signing import Signer, new_seed
from rotator.verifier import sources
from rotator.verifier.notes import VerifierKey
from rotator.verifier.trail import verify

WORK, RATE = "processor time of the verifier", "events verified in a second of processor time"
AT_LEAST = 20_000  # events per second

GOALS: Goals = {WORK: Goal(at_most=5), RATE: Goal(at_least=1)}
TINY = ("--events", "1000", "--rounds", "1")


def written(path: Path, signer: Signer, events: int) -> None:
    """A trail of whole-sized events, with a checkpoint after each thousand."""
    previous, at = "0" * 64, datetime(2026, 1, 1, tzinfo=UTC)
    tree: list[str] = []
    bodies: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        for seq in range(1, events + 1):
            if seq % 1000:
                event = NewEvent(
                    event="push.succeeded",
                    actor="daemon:rotator@worker-1",
                    credential="openai-web",
                    rotation="0b1f2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
                    version=seq % 50,
                    key_id=f"key_{seq:012}",
                    destination="vault",
                    attempt=1,
                    detail={"address": "vault:secret/web/openai", "message": "written, and read back"},
                )
            else:
                tree, bodies = merkle.grown(tree, seq - 1 - len(bodies), bodies), []
                note = signer.checkpoint(seq - 1, merkle.root(tree))
                event = NewEvent(event="checkpoint.succeeded", actor="bench", detail={"checkpoint": note})
            stored = audit.line(event, seq=seq, at=at, previous_hash=previous)
            previous = stored.hash
            bodies.append(stored.body)
            file.write(f"{next(audit.exported([stored]))}\n")


def least(path: Path) -> None:
    """What nobody can do without."""
    with path.open("rb") as lines:
        for line in lines:
            json.loads(line)
            hashlib.sha256(line).digest()


def verified(path: Path, key: VerifierKey, events: int) -> None:
    """Chain, form, tree, checkpoints and their signatures."""
    with sources.opened([str(path)]) as opened:
        found = verify(sources.joined(opened), start=sources.start(opened), keys=[key])
    assert (found.count, found.problem, found.checkpoints) == (events, None, events // 1000), found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed. Processor time, for a machine does other things too."""
    options = parser(__doc__)
    options.add_argument("--events", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args(arguments)
    results, signer = Results("verify", GOALS, asked.results), Signer(Secret(new_seed()), "keyturn/bench")
    with tempfile.TemporaryDirectory() as folder:
        path, key = Path(folder) / "trail.jsonl", VerifierKey.parse(signer.verifier_key)
        written(path, signer, asked.events)
        rounds = [
            (cost(lambda: least(path)).cpu, cost(lambda: verified(path, key, asked.events)).cpu)
            for _ in range(asked.rounds)
        ]
    bare, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    case = f"{asked.events:,} events"
    detail = f"{ours * 1000:.0f} ms against {bare * 1000:.0f} ms"
    results.add(WORK, case, "parsing and hashing each line", [one / other for other, one in rounds], detail)
    rates = [asked.events / one / AT_LEAST for _, one in rounds]
    results.add(RATE, case, f"{AT_LEAST:,} of them", rates, f"{asked.events / ours:,.0f} events/s")
    return results.end()


if __name__ == "__main__":
    sys.exit(main())

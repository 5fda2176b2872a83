"""The verifier: events per second, and against the least that could be done: parsing each line and hashing it once."""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rotator.domain.secret import Secret
from rotator.ports.store import NewEvent
from rotator.store import audit, merkle
from rotator.store.signing import Signer, new_seed
from rotator.verifier import sources
from rotator.verifier.notes import VerifierKey
from rotator.verifier.trail import verify

EVENTS = 20_000
AT_LEAST = 20_000  # events per second
AT_MOST = 5.0  # times the least
ROUNDS = 5


def written(path: Path, signer: Signer) -> None:
    """A trail of whole-sized events, with a checkpoint after each thousand."""
    previous, at, tree, bodies = "0" * 64, datetime(2026, 1, 1, tzinfo=UTC), [], []
    with path.open("w", encoding="utf-8") as file:
        for seq in range(1, EVENTS + 1):
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


def verified(path: Path, key: VerifierKey) -> None:
    """Chain, form, tree, checkpoints and their signatures."""
    with sources.opened([str(path)]) as opened:
        found = verify(sources.joined(opened), start=sources.start(opened), keys=[key])
    assert (found.count, found.problem, found.checkpoints) == (EVENTS, None, EVENTS // 1000), found


def seconds(act: Callable[[], None]) -> float:
    """Processor time, for a machine does other things too."""
    began = time.process_time()
    act()
    return time.process_time() - began


def main() -> int:
    """Print the figures; 1 if it is too slow."""
    signer = Signer(Secret(new_seed()), "keyturn/bench")
    with tempfile.TemporaryDirectory() as folder:
        path, key = Path(folder) / "trail.jsonl", VerifierKey.parse(signer.verifier_key)
        written(path, signer)
        rounds = [(seconds(lambda: least(path)), seconds(lambda: verified(path, key))) for _ in range(ROUNDS)]
    bare, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    rate, ratio = EVENTS / ours, statistics.median(one / other for other, one in rounds)
    print(f"verification {rate:,.0f} events/s, at least {AT_LEAST:,}; parsing and hashing alone {EVENTS / bare:,.0f}")
    print(f"ratio {ratio:.2f}, at most {AT_MOST}")
    return 0 if rate >= AT_LEAST and ratio <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())

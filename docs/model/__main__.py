"""`python -m docs.model`: search everything, one line each; exit status 1 unless each is found as it should be."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping

from docs.model.checker import Result, search
from docs.model.protocol import Protocol
from docs.model.setting import Setting
from docs.model.tables import LARGE, LIMITS, REDUNDANT, SMALL, WEAKENED, Weakened

MOST = 5_000_000
"""States; no setting comes near it, and one that did would count as not searched."""

Case = tuple[str, Setting, str | None]


def _safe(table: Mapping[str, Setting]) -> Iterator[Case]:
    for name, setting in table.items():
        yield name, setting, None


def _unsafe(table: Mapping[str, Weakened]) -> Iterator[Case]:
    for name, case in table.items():
        yield name, case.without, case.harm


def as_expected(result: Result, harm: str | None) -> bool:
    """Safe means: searched to the end and nothing found. Unsafe means: found, and for the reason given."""
    if harm is None:
        return result.complete and result.wrong is None
    return result.wrong is not None and result.wrong.startswith(harm)


def main() -> int:
    """Print what is found, and the shortest traces where asked for."""
    options = argparse.ArgumentParser(prog="python -m docs.model", description=__doc__)
    options.add_argument("--small", action="store_true", help="leave the large settings out")
    options.add_argument("--traces", action="store_true", help="print a shortest trace for each weakened protocol")
    chosen = options.parse_args()
    parts = {
        "The protocol: nothing may be found": [*_safe(SMALL), *([] if chosen.small else _safe(LARGE))],
        "Weakened: each must be found unsafe": [*_unsafe(WEAKENED)],
        "One guard less, and another one makes up for it": [*_safe(REDUNDANT)],
        "Limits: what is not promised": [*_unsafe(LIMITS)],
    }
    failed, began, states = 0, time.process_time(), 0
    for title, cases in parts.items():
        _say(title)
        for name, setting, harm in cases:
            result = _one(name, setting, harm, traces=chosen.traces)
            failed += not as_expected(result, harm)
            states += result.states
    _say(f"{states:,} states, {time.process_time() - began:.0f} s of processor time, {failed} not as expected")
    return 1 if failed else 0


def _one(name: str, setting: Setting, harm: str | None, *, traces: bool) -> Result:
    began = time.process_time()
    result = search(Protocol(setting), MOST)
    seconds = time.process_time() - began
    found = result.wrong or ("safe" if result.complete else "not searched to the end")
    mark = "  " if as_expected(result, harm) else "✗ "
    _say(f"{mark}{name:<68} {result.states:>9,} states  depth {result.depth:>3}  {seconds:6.1f} s  {found}")
    if traces or not as_expected(result, harm):
        for number, step in enumerate(result.trace, 1):
            _say(f"      {number:>2}  {step}")
    return result


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

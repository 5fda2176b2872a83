"""Explicit-state search: every reachable state, breadth first, so that the first trace found is a shortest one."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

State = bytes


class Move(NamedTuple):
    """One step of the world. `quiet`: it needs no fault and no person, so it goes on by itself."""

    text: str  # with {} for the arguments
    arguments: tuple[object, ...]
    state: State
    quiet: bool

    def __str__(self) -> str:
        return self.text.format(*self.arguments)


class Machine(Protocol):
    """What is searched."""

    def initial(self) -> State:
        """The one state in which everything begins."""
        ...

    def moves(self, state: State) -> Iterable[Move]:
        """Everything that may happen next."""
        ...

    def wrong(self, state: State) -> str | None:
        """Which promise this state breaks."""
        ...

    def settled(self, state: State) -> bool:
        """Nothing is left to do, and everything is as it should be or waits for a person with a reason."""
        ...


@dataclass(frozen=True)
class Result:
    """What a search found."""

    states: int
    depth: int
    wrong: str | None  # None: no reachable state breaks a promise
    trace: tuple[str, ...]  # a shortest way there
    complete: bool  # every reachable state was seen


def search(machine: Machine, most: int) -> Result:
    """Visit at most so many states; stop at the first that breaks a promise.

    Where none does and all were seen, look for a state from which quiet moves alone lead to no settled one.
    """
    start = machine.initial()
    numbers: dict[State, int] = {start: 0}
    parents, depths = array("l", [-1]), array("H", [0])
    edges_from, edges_to = array("l"), array("l")  # the quiet ones
    settled: list[int] = []
    queue: deque[State] = deque([start])
    while queue:
        state = queue.popleft()
        number = numbers[state]
        problem = machine.wrong(state)
        if problem is not None:
            return Result(len(numbers), depths[number], problem, _trace(machine, numbers, parents, number), False)
        if machine.settled(state):
            settled.append(number)
        for move in machine.moves(state):
            to = numbers.get(move.state)
            if to is None:
                to = numbers[move.state] = len(numbers)
                parents.append(number)
                depths.append(depths[number] + 1)
                queue.append(move.state)
            if move.quiet:
                edges_from.append(number)
                edges_to.append(to)
        if len(numbers) > most:
            return Result(len(numbers), depths[-1], None, (), False)
    stuck = _first_that_never_settles(len(numbers), edges_from, edges_to, settled)
    if stuck is not None:
        problem = "no quiet good state can be reached any more"
        return Result(len(numbers), depths[-1], problem, _trace(machine, numbers, parents, stuck), True)
    return Result(len(numbers), depths[-1], None, (), True)


def _first_that_never_settles(
    count: int, edges_from: array[int], edges_to: array[int], settled: list[int]
) -> int | None:
    """Walk the quiet edges backwards from the settled states; the first state that is not met is stuck."""
    starts = array("l", [0]) * (count + 1)
    for to in edges_to:
        starts[to + 1] += 1
    for number in range(count):
        starts[number + 1] += starts[number]
    sources, filled = array("l", [0]) * len(edges_to), array("l", starts)
    for source, to in zip(edges_from, edges_to, strict=True):
        sources[filled[to]] = source
        filled[to] += 1
    met = bytearray(count)
    for number in settled:
        met[number] = 1
    stack = list(settled)
    while stack:
        number = stack.pop()
        for source in sources[starts[number] : starts[number + 1]]:
            if not met[source]:
                met[source] = 1
                stack.append(source)
    missed = met.find(0)
    return None if missed < 0 else missed


def _trace(machine: Machine, numbers: dict[State, int], parents: array[int], number: int) -> tuple[str, ...]:
    way = [number]
    while parents[way[-1]] >= 0:
        way.append(parents[way[-1]])
    states = {n: state for state, n in numbers.items() if n in set(way)}
    return tuple(_steps(machine, [states[n] for n in reversed(way)]))


def _steps(machine: Machine, states: list[State]) -> Iterator[str]:
    for here, there in pairwise(states):
        yield next(str(move) for move in machine.moves(here) if move.state == there)

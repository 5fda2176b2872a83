"""What the code says, read from its source: the reasons it gives and the events it writes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from rotator.domain.events import Outcome, Subject
from rotator.domain.plans import BROWNOUT, CONFIRMING, CONTAINING, GOING_BACK, RETIREMENT, ROTATION

PACKAGE = Path(__file__).parents[2] / "rotator"
NOT_THE_SERVICE = ("demo", "testbed")

# Where a reason is not given by its name: function → its position.
_POSITIONAL = {"Condition": 2, "wait": 3, "_wait_for": 2, "_wait": 0}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the service with its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in NOT_THE_SERVICE:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def reasons() -> set[str]:
    """Every reason constant: `reason="…"`, `"reason": "…"`, defaults of error classes, and named constants.

    The kinds of findings are among them: `status` shows that of an urgent one as the reason.
    """
    constants = {name: text for _, tree in modules() for name, text in _constants(tree)}
    found: set[str] = set()
    for _, tree in modules():
        for node in ast.walk(tree):
            for value in _reason_values(node):
                found |= _texts(value, constants)
    return {text for text in found if text.replace("_", "").isalnum()}


def events() -> dict[Subject, set[Outcome]]:
    """Subject → the outcomes that some line of the code writes for it."""
    found: dict[Subject, set[Outcome]] = {subject: set() for subject in Subject}
    for _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                members = [_member(argument) for argument in node.args[:2]]
                if len(members) == 2 and members[0] and members[1] and members[0][0] == "Subject":
                    found[Subject[members[0][1]]].add(Outcome[members[1][1]])
                elif members and members[0] and isinstance(node.func, ast.Name) and node.func.id == "_event":
                    found[Subject[members[0][1]]].add(Outcome.SUCCEEDED)  # store.enrolment's short way
    for step in (
        *ROTATION,
        *BROWNOUT,
        *RETIREMENT,
        *GOING_BACK,
        *CONFIRMING,
        *CONTAINING,
    ):  # what Work.wait and Work.failed tell about
        found[step.verb] |= {Outcome.DELAYED, Outcome.BLOCKED}
    return found


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for text in _texts(node.value, {}):
                yield from ((target.id, text) for target in node.targets if isinstance(target, ast.Name))


def _reason_values(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Call(func=function, args=arguments, keywords=keywords):
            yield from (word.value for word in keywords if word.arg == "reason")
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            if name in ("News", "Finding"):
                yield from (word.value for word in keywords if word.arg == "kind")
            position = _POSITIONAL.get(name)
            if position is not None and len(arguments) > position:
                yield arguments[position]
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "reason":
                    yield value
        case ast.Assign(targets=[ast.Name(id="reason")], value=value):
            yield value
        case ast.arg(arg="reason"):
            pass
        case ast.FunctionDef(args=parameters):
            named = [*parameters.posonlyargs, *parameters.args]
            defaults = [*zip(named[len(named) - len(parameters.defaults) :], parameters.defaults, strict=True)]
            defaults += [(a, d) for a, d in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True) if d]
            yield from (default for argument, default in defaults if argument.arg == "reason")


def _texts(value: ast.expr, constants: dict[str, str]) -> set[str]:
    match value:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.Name(id=name) if name in constants:
            return {constants[name]}
        case ast.Attribute():
            return _subject(value)
        case ast.IfExp(body=first, orelse=second):
            return _texts(first, constants) | _texts(second, constants)
        case ast.BoolOp(values=values):
            return {text for one in values for text in _texts(one, constants)}
    return set()


def _subject(node: ast.Attribute) -> set[str]:
    """`Subject.DRIFT` and `Subject.DRIFT.value`."""
    member = _member(node.value if node.attr == "value" else node)
    return {Subject[member[1]].value} if member and member[0] == "Subject" else set()


def _member(node: ast.expr) -> tuple[str, str] | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("Subject", "Outcome"):
        return node.value.id, node.attr
    return None

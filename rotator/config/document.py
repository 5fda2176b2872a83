"""One YAML file as plain data, with the line that every place in it comes from.

Only what JSON knows is read: mappings, lists, text, numbers, true, false and null, spelt as in YAML 1.2 (so that `on`,
`no` and `12:30` stay text). Tags, merge keys and files that grow when they are read are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from rotator.domain.errors import SetupError

KeyPath = tuple[str | int, ...]
"""The keys and list positions that lead to a place in a file."""

MOST_BYTES = 5_000_000
MOST_VALUES = 100_000
MOST_LEVELS = 40

_TEXT = "tag:yaml.org,2002:str"
_SCALARS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", "~nN\0", lambda _: None),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]{1,18}", "-+0123456789", int),
    "tag:yaml.org,2002:float": (r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?", "-+.0123456789", float),
}
_QUOTED = re.compile(r"(?P<quote>['\"])(?!<)(?P<text>(?:(?!(?P=quote)).){3,})(?P=quote)")


_PARSERS_DIFFER = re.compile(r"[\t\r\ufeff\x85\u2028\u2029]|[|>].*#|\?\s|^(?:---|\.\.\.|%)", re.MULTILINE)
"""Where libyaml takes what PyYAML's own parser refuses, or counts lines otherwise: a file means the same everywhere."""


@dataclass(frozen=True)
class Document:
    """A file that could be read. `complaints` are about its form: what is wrong at which place."""

    name: str  # how problems call it
    folder: Path  # what its relative paths are relative to
    data: Any
    lines: Mapping[KeyPath, int]
    complaints: tuple[tuple[KeyPath, str], ...] = ()

    def line(self, path: KeyPath) -> int | None:
        """The line of a place, or of the nearest place around it that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def read_document(path: Path, name: str) -> Document:
    """Read a file. Raises SetupError naming it, and the line and column where it is not YAML; never its text."""
    text = _text(path, name)
    try:
        node = _node(text)
        tree = _Tree()
        data = None if node is None else tree.value(node, ())
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        # The text of the file is not repeated: it may be a secret.
        why = _QUOTED.sub("…", problem.problem or "it cannot be parsed")
        message = f"{where}: this is not YAML: {why}"
        raise SetupError(message, reason="bad_configuration", remedy=_remedy(why)) from None
    except ReaderError as problem:
        message = f"{name}: this is not YAML: character {problem.position + 1} is a control character"
        raise SetupError(message, reason="bad_configuration", remedy="check that this is the right file") from None
    except (_TooMuch, RecursionError) as problem:
        message = f"{name}: {problem if isinstance(problem, _TooMuch) else 'it is nested too deeply'}"
        raise SetupError(
            message, reason="bad_configuration", remedy="split it with `include`, or check that this is the right file"
        ) from None
    return Document(name, path.parent.absolute(), data, tree.lines, tuple(tree.complaints))


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as problem:
        message = f"cannot read the configuration {name}: {problem.strerror}"
        raise SetupError(message, reason="bad_configuration", remedy="check the path and its permissions") from None
    if len(content) > MOST_BYTES:
        message = f"{name}: it is larger than {MOST_BYTES // 1_000_000} MB"
        raise SetupError(
            message, reason="bad_configuration", remedy="split it with `include`, or check that this is the right file"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        message = f"{name}: it is not UTF-8 text (byte {problem.start + 1})"
        raise SetupError(
            message, reason="bad_configuration", remedy="save it as UTF-8, or check that this is the right file"
        ) from None


def _remedy(why: str) -> str:
    if r"\t" in why:
        return "YAML is indented with spaces, not with tabs"
    return "look at this line and the one before it: quotes, colons and indentation"


class _TooMuch(Exception):
    """The file would fill the memory or the stack."""


def _refuse_too_much(values: int, levels: int) -> None:
    if values > MOST_VALUES:
        message = f"it holds more than {MOST_VALUES} values"
        raise _TooMuch(message)
    if levels > MOST_LEVELS:
        message = "it is nested too deeply"
        raise _TooMuch(message)


def _node(text: str) -> yaml.Node | None:
    """The text as nodes. libyaml reads it in a third of the time; only PyYAML's own parser says well what is wrong."""
    if yaml.__with_libyaml__ and not _PARSERS_DIFFER.search(text):
        try:
            return _Fast(text).get_single_node()
        except yaml.YAMLError:
            pass
    return _Slow(text).get_single_node()


class _Nodes(Composer, BaseResolver):
    """PyYAML without its constructors: events become nodes, and nodes never become objects."""

    def __init__(self) -> None:
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._level = 0
        self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._level += 1
        self._nodes += 1
        _refuse_too_much(self._nodes, self._level)
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


for _tag, (_pattern, _first, _) in _SCALARS.items():
    letters = [letter.strip("\0") for letter in _first]
    _Nodes.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), letters)


class _Slow(Reader, Scanner, Parser, _Nodes):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        _Nodes.__init__(self)


if yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _Fast(_Nodes, CParser):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            _Nodes.__init__(self)


@dataclass
class _Tree:
    """Turns nodes into plain data, and remembers lines and complaints on the way."""

    lines: dict[KeyPath, int] = field(default_factory=dict)
    complaints: list[tuple[KeyPath, str]] = field(default_factory=list)
    count: int = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.count += 1  # an alias counts every time it is used
        _refuse_too_much(self.count, len(path))
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == BaseResolver.DEFAULT_MAPPING_TAG:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == BaseResolver.DEFAULT_SEQUENCE_TAG:
            return [self.value(item, (*path, position)) for position, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        return self._refuse_tag(path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.complaints.append((path, "a key in here is not a plain word"))
                continue
            key, line = key_node.value, key_node.start_mark.line + 1
            place = (*path, key)
            if key == "<<":
                self.complaints.append((place, "merge keys are not read: write common values under `defaults`"))
            elif key in data:
                again = f"stands here twice, in line {self.lines[place]} and in line {line}: take one out"
                self.complaints.append((place, again))
            else:
                self.lines[place] = line
                data[key] = self.value(value_node, place)
        return data

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if node.tag == _TEXT:
            return node.value
        pattern, _, convert = _SCALARS.get(node.tag, ("(?!)", "", str))
        if re.fullmatch(pattern, node.value):
            return convert(node.value)
        return self._refuse_tag(path)

    def _refuse_tag(self, path: KeyPath) -> None:
        self.complaints.append((path, "carries a YAML tag (`!…`): only plain values are read"))

"""What is wrong in a configuration file: where, why, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from rotator.config.document import KeyPath
from rotator.domain.errors import SetupError
from rotator.settings import format_duration

_PLAIN = re.compile(r"[A-Za-z0-9_./ -]{1,40}")
_LONG = 24  # from this length on a value in a message may be a secret


@dataclass(frozen=True)
class Problem:
    """One thing to correct. As text: `rotator.yaml:12: credentials.web.policy.grace: … (did you mean …?)`."""

    file: str
    place: str
    message: str
    hint: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        parts = [where, self.place, self.message] if self.place else [where, self.message]
        return ": ".join(parts) + (f" ({self.hint})" if self.hint else "")


class ConfigError(SetupError):
    """Everything that is wrong with the configuration, at once. `str()` lists all of it, one line each."""

    def __init__(self, path: object, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = [f"{count} in the configuration {path}:", *(f"  {problem}" for problem in self.problems)]
        remedy = "correct the file; `rotator schema` describes every key"
        super().__init__("\n".join(lines), reason="bad_configuration", remedy=remedy)


def shown(text: str) -> str:
    """A key or a name from the file as a message may hold it: whole only if it looks like a name, not like a secret."""
    if _PLAIN.fullmatch(text):
        return text
    head, colon, _ = text.partition(":")
    if colon and _PLAIN.fullmatch(head):
        return f"{head}:…"
    return re.sub(r"[^A-Za-z0-9_./ -]", "?", text[:6]) + "…"


def place(path: KeyPath) -> str:
    """`credentials.web.destinations[0].path`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{shown(part)}"
    return text.removeprefix(".")


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that was probably meant."""
    simple = {name.lower().replace("-", "_"): name for name in known}
    found = difflib.get_close_matches(word.lower().replace("-", "_")[:64], simple, n=1, cutoff=cutoff)
    return simple[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The hint for a word that is not known."""
    meant = nearest(word, known)
    return None if meant is None else f"did you mean `{meant}`?"


def suggest_key(path: KeyPath, known: Iterable[str]) -> str | None:
    """The hint for an unknown key: a neighbour that is spelt alike, else the same key elsewhere in this entry."""
    parents = [part for part in path[:-1] if isinstance(part, str)]
    key, prefix = str(path[-1]), "".join(f"{part}." for part in parents)
    known = sorted(known, key=lambda name: (name.count("."), name))
    neighbours = {name[len(prefix) :].partition(".")[0] for name in known if name.startswith(prefix)}
    head, colon, _ = key.partition(":")
    if colon and head in neighbours:
        return "a colon is followed by a space"
    meant = nearest(key, neighbours)
    if meant is not None:
        return f"did you mean `{prefix}{meant}`?"
    elsewhere: dict[str, str] = {}
    for name in known:
        elsewhere.setdefault(name.rpartition(".")[2], name)
    meant = nearest(key, elsewhere, cutoff=0.85)
    return None if meant is None else f"did you mean `{elsewhere[meant]}`?"


_SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
    "none_required": "must be left empty",
    "path_type": "must be a path",
    "finite_number": "must be a number",
}
_FAMILIES = {"int": "must be a whole number", "float": "must be a number", "url": "is not a URL"}
_BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


def sentence(error: Any) -> str:
    """A pydantic error in our words. The value itself is never in it, but where it is short and the sentence ours."""
    kind, context, value = error["type"], error.get("ctx") or {}, error.get("input")
    if kind in ("value_error", "assertion_error"):
        return _without_secret(str(context.get("error", "")) or "is not valid here", value)
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        expected = context.get("expected") or context.get("expected_tags") or ""
        return f"must be one of {expected.replace(chr(39), '').replace(' or ', ', ')}"
    if kind == "string_type":
        return "must be text" + ("; put it in quotes" if isinstance(value, int | float) else "")
    if kind == "string_pattern_mismatch":
        return f"must be of the form {context.get('pattern')}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = context.get(name)
        return f"{words} {format_duration(bound) if isinstance(bound, timedelta) else bound}"
    return _SENTENCES.get(kind) or _FAMILIES.get(kind.partition("_")[0]) or "is not what is expected here"


def reason(problem: Exception) -> str:
    """What an adapter says is wrong."""
    if isinstance(problem, ValidationError):
        return "; ".join(dict.fromkeys(sentence(error) for error in problem.errors(include_url=False)))
    return str(problem)


def _without_secret(message: str, value: object) -> str:
    """A message of an adapter may quote what it was given."""
    if isinstance(value, str) and len(value) >= _LONG:
        return message.replace(repr(value), "this").replace(value, "…")
    return message

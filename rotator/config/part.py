"""A part of a configuration file that knows where it stands, so that whatever is wrong with it can say so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from rotator.config.document import Document, KeyPath
from rotator.config.problems import Problem, place, sentence, suggest_key
from rotator.settings import Settings

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

AnySettings = TypeVar("AnySettings", bound=BaseModel)


class Entry(Settings):
    """The base of our own models of the file."""


@dataclass(frozen=True)
class Part:
    """The value at `path` in a document. What is reported goes to the one list that all parts share."""

    document: Document
    problems: list[Problem]
    path: KeyPath
    data: Any
    root: int = 0  # how much of the path leads to the entry that hints are relative to
    known: frozenset[str] = frozenset()  # the keys of that entry, such as `options.project`

    @classmethod
    def whole(cls, document: Document, problems: list[Problem], known: Iterable[str]) -> Part:
        """The whole of a file; complaints about its form are reported."""
        part = cls(document, problems, (), document.data, known=frozenset(known))
        for path, message in document.complaints:
            part.report(message, at=path)
        return part

    @property
    def place(self) -> str:
        """`credentials.web.policy`."""
        return place(self.path)

    @property
    def line(self) -> int | None:
        """The line it stands in."""
        return self.document.line(self.path)

    def report(self, message: str, hint: str | None = None, *, at: KeyPath = ()) -> None:
        """Add a problem with this part, or with the place `at` in it."""
        path = (*self.path, *at)
        self.problems.append(Problem(self.document.name, place(path), message, hint, self.document.line(path)))

    def at(self, key: str | int) -> Part:
        """The part at this key; its data is None where there is none."""
        data = self.data
        if isinstance(data, dict):
            data = data.get(key)
        elif isinstance(data, list):
            data = data[key] if isinstance(key, int) else None
        else:
            data = None
        return replace(self, path=(*self.path, key), data=data)

    def picked(self, *keys: str) -> Part:
        """The same part with no more than these keys."""
        return replace(self, data={key: self.data[key] for key in keys if key in self.data})

    def entry(self, known: Iterable[str]) -> Part:
        """The same part, as the entry that hints about unknown keys are relative to."""
        return replace(self, root=len(self.path), known=frozenset(known))

    def named(self) -> Iterator[tuple[str, Part]]:
        """The entries of a mapping of names; a wrong name, or anything but a mapping, is reported."""
        if self.data is None:
            return
        if not isinstance(self.data, dict):
            self.report("must be a mapping of names to entries")
            return
        for name in self.data:
            if not _NAME.fullmatch(name):
                message = "a name is at most 63 of a-z, 0-9, `.`, `_` and `-`, and begins with a letter or a digit"
                self.report(message, at=(name,))
            yield name, self.at(name)

    def read(self, model: type[AnySettings]) -> AnySettings | None:
        """The part as this model, or None after every problem with it was reported."""
        found, errors = self.validated(model)
        for path, error in errors.items():
            self._tell(model, path, error)
        return found

    def read_rest(self, model: type[AnySettings]) -> AnySettings | None:
        """The part as this model without the keys that `read` reports; None where one of them is needed."""
        found, errors = self.validated(model)
        if found is None and isinstance(self.data, dict):
            wrong = {path[0] for path in errors if path}
            found, _ = self.picked(*(key for key in self.data if key not in wrong)).validated(model)
        return found

    def validated(self, model: type[AnySettings]) -> tuple[AnySettings | None, dict[KeyPath, Any]]:
        """The model, or else the first error at each place. Reports nothing."""
        data = {} if self.data is None else self.data
        try:
            return model.model_validate(data, context={"folder": self.document.folder}), {}
        except ValidationError as problem:
            found = problem.errors(include_url=False)
        except OverflowError:
            return None, {(): {"type": "value_error", "ctx": {"error": "holds a number that is too large"}}}
        errors: dict[KeyPath, Any] = {}
        for error in found:
            errors.setdefault(self._locate(error["loc"], error["type"], error.get("ctx") or {}), error)
        return None, errors

    def _tell(self, model: type[BaseModel], path: KeyPath, error: Any) -> None:
        if error["type"] == "union_tag_not_found":
            self.report("is missing", at=path)
        elif error["type"] != "extra_forbidden":
            self.report(sentence(error), at=path)
        else:
            inside = (*self.path[self.root :], *path)
            self.report(sentence(error), suggest_key(inside, self.known or known_keys(model)), at=path)

    def _locate(self, location: tuple[int | str, ...], kind: str, context: dict[str, Any]) -> KeyPath:
        """Where in the file an error is: pydantic's location without the tags of unions and the like."""
        path: list[str | int] = []
        data = self.data
        for position, step in enumerate(location):
            inside = step in data if isinstance(data, dict) else isinstance(data, list) and isinstance(step, int)
            if inside:
                path.append(step)
                data = data[step]
            elif kind == "missing" and position == len(location) - 1:
                path.append(step)
        if kind.startswith("union_tag"):
            path.append(str(context.get("discriminator", "")).strip("'"))
        return tuple(path)


def known_keys(model: object, prefix: str = "") -> set[str]:
    """Every key that a model knows, with those of the models inside it: `auth`, `auth.method` and so on."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return {key for inner in get_args(model) for key in known_keys(inner, prefix)}
    keys = set()
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        keys |= {key} | known_keys(field.annotation, f"{key}.")
    return keys

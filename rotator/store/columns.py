"""Column types: what Python holds and how both databases store it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeDecorator, TypeEngine

_MILLISECOND = timedelta(milliseconds=1)
_WITHOUT_TIMES = sqlite.dialect()


def moment_text(moment: datetime) -> str:
    """RFC 3339 in UTC with exactly six decimals, so that the order of texts is the order of times."""
    if moment.tzinfo is None:
        message = f"{moment} has no time zone"
        raise ValueError(message)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def json_value(kind: TypeEngine[Any], value: Any) -> Any:
    """A column's value as JSON from which PostgreSQL makes it again."""
    if isinstance(kind, TypeDecorator):
        value = kind.process_bind_param(value, _WITHOUT_TIMES)
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz` on PostgreSQL, text that sorts on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text where the database has no type for it."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse naive times."""
        if value is None:
            return None
        text = moment_text(value)
        return text if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Aware UTC, whatever the session's time zone is."""
        if value is None:
            return None
        moment: datetime = datetime.fromisoformat(value) if dialect.name == "sqlite" else value
        return moment.astimezone(UTC)


class Span(TypeDecorator[timedelta]):
    """A duration as whole milliseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """To milliseconds."""
        return None if value is None else round(value / _MILLISECOND)

    def process_result_value(self, value: Any, dialect: Dialect) -> timedelta | None:  # noqa: ARG002
        """From milliseconds."""
        return None if value is None else value * _MILLISECOND


class Word(TypeDecorator[StrEnum]):
    """A member of a StrEnum as text. The database checks the words itself, by a CHECK constraint."""

    impl = Text
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Refuse unknown words."""
        return None if value is None else self.words(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        """Give the member back."""
        return None if value is None else self.words(value)


class TextMap(TypeDecorator[Mapping[str, Any]]):
    """A mapping of texts to texts, or to what else JSON has, as JSON text, in its own order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To JSON."""
        return None if value is None else json.dumps(dict(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Mapping[str, Any] | None:  # noqa: ARG002
        """From JSON."""
        return None if value is None else json.loads(value)


class TextList(TypeDecorator[Sequence[str]]):
    """A sequence of texts as JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To JSON."""
        return None if value is None else json.dumps(list(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Sequence[str] | None:  # noqa: ARG002
        """From JSON, unchangeable."""
        return None if value is None else tuple(json.loads(value))

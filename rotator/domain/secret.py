"""Secret values, kept opaque from the moment they are read to the moment they are written."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from typing import NoReturn
from weakref import WeakValueDictionary

from rotator.domain.redaction import redacted

_LIVING: WeakValueDictionary[int, Secret] = WeakValueDictionary()


class Secret:
    """A value that never shows itself: not in repr, str, format, pickle, json or as a dictionary key.

    `reveal()` is the one exit; a test lists the modules that may call it.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        _LIVING[id(self)] = self

    def reveal(self) -> str:
        """Return the value itself. Only where it is sealed, sent or written."""
        return self._value

    def __repr__(self) -> str:
        return "<Secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "<Secret>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash is a fingerprint without a pepper

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        message = "a Secret is not pickled or copied"
        raise TypeError(message)


def without_secrets(text: str) -> str:
    """The text with "…" in place of every secret that is in memory now, whichever way it is spelt there."""
    living = [reference() for reference in _LIVING.valuerefs()]  # a copy: other threads make and forget some meanwhile
    return redacted(text, {secret._value for secret in living if secret is not None})  # noqa: SLF001 - it ends in here


class Material(Mapping[str, Secret]):
    """The named secret fields of one key, such as `secret`, or `access_key_id` and `secret_access_key`."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Secret]) -> None:
        self._fields = dict(fields)

    @classmethod
    def of(cls, **fields: str) -> Material:
        """Build material from plain strings: `Material.of(secret=...)`."""
        return cls({name: Secret(value) for name, value in fields.items()})

    def __getitem__(self, name: str) -> Secret:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<Material {', '.join(sorted(self._fields))}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Material):
            return NotImplemented
        return self._fields.keys() == other._fields.keys() and all(self[name] == other[name] for name in self)

    __hash__ = None  # type: ignore[assignment]  # as for Secret

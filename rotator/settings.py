"""What the settings of adapters are made of: durations and references to secrets, as pydantic field types.

An adapter describes its part of the configuration file with these, in its own file. Nothing is read or opened
while the configuration is parsed: a `SecretReference` is read when an adapter first needs it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, InstanceOf, PlainSerializer, WithJsonSchema

from rotator.domain.errors import SetupError
from rotator.domain.secret import Secret

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")


def parse_duration(text: object) -> timedelta:
    """`45s`, `90m`, `12h`, `30d`, `1d12h`, `500ms`. Raises ValueError."""
    if isinstance(text, timedelta):
        return text
    if text == 0:
        return timedelta(0)
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        message = f"{text!r} is not a duration; write 45s, 90m, 12h, 30d or 1d12h"
        raise ValueError(message)
    days, hours, minutes, seconds, milliseconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)


def format_duration(span: timedelta) -> str:
    """The same notation, shortest form: `1d12h`, `45s`, `0s`."""
    milliseconds = round(span / timedelta(milliseconds=1))
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$", "examples": ["45s", "12h", "30d"]}),
]


@dataclass(frozen=True)
class SecretReference:
    """Where a secret is: `env:NAME` or `file:PATH`. The value is read anew at each `read`, so that it may change.

    `systemd-credential:NAME`, a file in `$CREDENTIALS_DIRECTORY` (systemd.exec(5)), is for the sealing key alone.
    """

    text: str
    folder: Path = field(default=Path(), compare=False)  # what relative paths are relative to

    @property
    def absolute(self) -> str:
        """The same place, whatever the folder that it is read from."""
        scheme, _, rest = self.text.partition(":")
        return self.text if scheme != "file" else f"file:{self.folder / rest}"

    def read(self) -> Secret:
        """Return the value; one trailing newline of a file is dropped. Raises SetupError naming the place."""
        scheme, _, rest = self.text.partition(":")
        if scheme == "env":
            value = os.environ.get(rest)
            if not value:
                message = f"the environment variable {rest} is not set"
                remedy = f"export {rest}=… before you start, or name another place"
                raise SetupError(message, reason="no_credential", remedy=remedy)
            return Secret(value)
        path = self.folder / rest
        if scheme == "systemd-credential":
            given = os.environ.get("CREDENTIALS_DIRECTORY")
            if not given:
                message = f"systemd has given this process no credentials, {rest} included"
                remedy = f"start it by a unit with LoadCredentialEncrypted={rest}:PATH, or name another place"
                raise SetupError(message, remedy=remedy)
            path = Path(given) / rest
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
            message = f"cannot read the secret in {path}: {why}"
            raise SetupError(message, reason="no_credential", remedy="check the path and its permissions") from None
        return Secret(text.removesuffix("\n"))


def _reference(value: object, info: Any) -> SecretReference:
    if isinstance(value, SecretReference):
        return value
    scheme = value.partition(":")[0] if isinstance(value, str) else ""
    if scheme not in ("env", "file"):
        # The value is not repeated: it may be the secret itself.
        message = "a secret is named, not written here: use env:NAME or file:PATH"
        raise ValueError(message)
    folder = (info.context or {}).get("folder", Path())
    return SecretReference(str(value), folder)


SecretAt = Annotated[
    InstanceOf[SecretReference],
    BeforeValidator(_reference),
    PlainSerializer(lambda reference: reference.absolute),
    WithJsonSchema({"type": "string", "pattern": "^(env|file):.+", "examples": ["env:OPENAI_ADMIN_KEY"]}),
]


def _path(value: object, info: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        message = "a path is expected"
        raise ValueError(message)
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / Path(value).expanduser()


FilePath = Annotated[
    InstanceOf[Path],
    BeforeValidator(_path),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]
"""A path; relative ones are relative to the configuration file."""


class Settings(BaseModel):
    """The base of every settings model: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

"""Keys that exist already, for `rotator init --from`: names, fingerprints, and what could be configured for them.

What a place holds stays a `Secret` all the way: nothing here looks at a value.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rotator.config.adapters import DESTINATION_TYPES
from rotator.domain.errors import SetupError
from rotator.domain.secret import Secret

_TIMEOUT = timedelta(seconds=20)
_KEY = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD|PASSWD)$", re.IGNORECASE)
_NO_KEY = re.compile(r"PUBLIC|AWS_SESSION_TOKEN|AWS_ACCESS_KEY_ID", re.IGNORECASE)
_AWS_ID, _AWS_SECRET = "aws_access_key_id", "aws_secret_access_key"


@dataclass(frozen=True, kw_only=True)
class FoundKey:
    """One key at one place."""

    name: str  # as it is called there
    address: str  # as `status` prints a destination
    value: Secret
    fields: Mapping[str, str]  # what the place's fields would hold
    target: str  # the entry of `destinations` that writes it
    key_id: str | None = None

    @property
    def provider(self) -> str:
        """By its name: nobody else is asked."""
        name = self.name.upper()
        if "OPENAI" in name:
            return "openai"
        if "ANTHROPIC" in name or "CLAUDE" in name:
            return "anthropic"
        return "aws" if "AWS" in name else "manual"


_OPTIONS = {
    "openai": "{project: PROJECT, service_account: SERVICE_ACCOUNT}",
    "anthropic": "{workspace: WORKSPACE}",
    "aws": "{user: IAM_USER}",
    "manual": '{instructions: "WHERE A PERSON MAKES IT"}',
}


def search(source: str, environ: Mapping[str, str]) -> list[FoundKey]:
    """The keys at `vault:MOUNT/PATH`, or in an env file or AWS credentials file; `aws` is where AWS's tools look.

    Raises SetupError where nothing is there, and whatever the place raises.
    """
    if source.startswith("vault:"):
        return _in_vault(source.removeprefix("vault:"), environ)
    home = environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    path = Path(home if source == "aws" else source).expanduser().absolute()
    if not path.is_file():
        message = f"there is no file {path} to find keys in"
        remedy = "--from takes an env file, an AWS credentials file, `aws`, or vault:MOUNT/PATH"
        raise SetupError(message, remedy=remedy)
    profiles = _profiles(path)
    if profiles is not None:
        return list(_in_profiles(path, profiles))
    place = DESTINATION_TYPES.find("env-file")
    server = place("env-file", place.Settings(), _TIMEOUT)
    return list(_named(server.at(str(path)).read().fields, f"env-file:{path}", f"{{to: env-file, path: {path}"))


def _in_vault(where: str, environ: Mapping[str, str]) -> list[FoundKey]:
    mount, _, path = where.partition("/")
    address = environ.get("VAULT_ADDR")
    if not address or not path:
        message = f"cannot look into vault:{where}"
        remedy = "write vault:MOUNT/PATH, and set VAULT_ADDR and VAULT_TOKEN"
        raise SetupError(message, reason="no_credential" if path else "usage", remedy=remedy)
    place = DESTINATION_TYPES.find("vault-kv")
    auth = {"method": "token", "token": "env:VAULT_TOKEN"}
    settings = {"address": address, "mount": mount, "namespace": environ.get("VAULT_NAMESPACE") or None, "auth": auth}
    server = place("vault", place.Settings.model_validate(settings), _TIMEOUT)
    try:
        fields = server.at(path).read().fields
    finally:
        server.close()
    return list(_named(fields, f"vault:{where}", f"{{to: vault, path: {path}"))


def _profiles(path: Path) -> configparser.RawConfigParser | None:
    """An AWS credentials file: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html; None: another file."""
    parsed = configparser.RawConfigParser()
    try:
        parsed.read_string(path.read_text(encoding="utf-8"))
    except (configparser.Error, UnicodeDecodeError, OSError):
        return None
    return parsed if any(parsed.has_option(profile, _AWS_ID) for profile in parsed.sections()) else None


def _in_profiles(path: Path, parsed: configparser.RawConfigParser) -> Iterator[FoundKey]:
    for profile in parsed.sections():
        secret = parsed.get(profile, _AWS_SECRET, fallback="")
        if secret and not parsed.has_option(profile, "aws_session_token"):  # those of a session end by themselves
            yield FoundKey(
                name=f"aws-{profile}",
                address=f"{path} [{profile}]",
                value=Secret(secret),
                key_id=parsed.get(profile, _AWS_ID, fallback=None),
                fields={},
                target="{to: app}    # no destination writes AWS's own file: name where consumers shall read it",
            )


def _named(fields: Mapping[str, Secret], address: str, target: str) -> Iterator[FoundKey]:
    upper = {name.upper(): name for name in fields}
    for name, value in fields.items():
        if not _KEY.search(name) or _NO_KEY.search(name):
            continue
        templates = {name: "{secret}"}
        if name.upper() == _AWS_SECRET.upper():
            templates = {upper.get(_AWS_ID.upper(), _AWS_ID.upper()): "{access_key_id}", name: "{secret_access_key}"}
        written = ", ".join(f'{field}: "{template}"' for field, template in templates.items())
        yield FoundKey(
            name=name, address=address, value=value, fields=templates, target=f"{target}, fields: {{{written}}}}}"
        )


def proposals(found: Iterable[FoundKey]) -> tuple[Sequence[tuple[str, FoundKey]], str]:
    """The names that they could have, and entries of `credentials:`, commented out: nobody but a person decides."""
    named: dict[str, FoundKey] = {}
    for key in found:
        plain = re.sub(r"[^a-z0-9]+", "-", key.name.lower()).strip("-")
        name = next(n for n in _numbered(plain) if n not in named)
        named[name] = key
    if not named:
        return [], ""
    lines = ["Found by `rotator init --from`. Take the comment signs off, and fill in what is in CAPITALS."]
    for name, key in named.items():
        lines += [
            f"{name}:    # now {key.name} at {key.address}",
            f"  provider: {key.provider}",
            f"  options: {_OPTIONS[key.provider]}",
            "  policy: {rotate_every: 30d, first: adopt}    # the first pass records the key that is in use",
            "  destinations:",
            f"    - {key.target}",
        ]
    return list(named.items()), "".join(f"  # {line}\n" for line in lines)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1

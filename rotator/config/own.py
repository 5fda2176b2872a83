"""Our own credentials: where the configuration says that each is, and which of its credentials writes there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rotator.config.models import Config, CredentialConfig, DestinationConfig
from rotator.settings import SecretReference


@dataclass(frozen=True)
class OwnReference:
    """One secret that we read for ourselves: its place in the file, such as `providers.openai.admin_key`, and where."""

    place: str
    text: str  # as the configuration has it
    file: str | None  # the absolute path, where it is in a file

    @classmethod
    def of(cls, place: str, reference: SecretReference) -> OwnReference:
        """From what a setting holds."""
        scheme, _, path = reference.absolute.partition(":")
        return cls(place, reference.text, str(Path(path).absolute()) if scheme == "file" else None)


def references(place: str, settings: object) -> Iterator[OwnReference]:
    """Every secret that a model of settings names, however deep. A profile of AWS is in its credentials file."""
    if isinstance(settings, SecretReference):
        yield OwnReference.of(place, settings)
    elif isinstance(settings, BaseModel):
        for name in type(settings).model_fields:
            yield from references(f"{place}.{name}", getattr(settings, name))
        profile = getattr(settings, "profile", None)
        if profile is not None:
            yield OwnReference(f"{place}.profile", f"profile {profile}", str(aws_credentials_file(os.environ)))


def aws_credentials_file(environ: Mapping[str, str]) -> Path:
    """Where AWS's own tools keep the keys of profiles."""
    return Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser().absolute()


def of_config(config: Config) -> Iterator[OwnReference]:
    """Every secret of ours, in the order of the file."""
    yield from references("store.url", config.store.url)
    yield from references("seal.key", config.seal.key)
    for position, key in enumerate(config.seal.also):
        yield from references(f"seal.also[{position}]", key)
    yield from references("seal.aws", config.seal.aws)
    yield from references("seal.vault", config.seal.vault)
    for name, provider in config.providers.items():
        yield from references(f"providers.{name}", provider.settings)
    for name, destination in config.destinations.items():
        yield from references(f"destinations.{name}", destination.settings)
    for name, route in config.routes.items():
        yield from references(f"notify.routes.{name}", route.settings)


def files_of(credential: CredentialConfig, destinations: Mapping[str, DestinationConfig | None]) -> dict[int, str]:
    """Position of a target → the file that it writes, for those that write one."""
    found = {}
    for target in credential.destinations:
        server = destinations.get(target.to)
        settings: Any = server.settings if server is not None else None
        if server is not None and server.type == "env-file" and (target.path or settings.path):
            found[target.position] = str(Path(target.path or settings.path).absolute())
    return found


def rotated_by(config: Config) -> dict[str, str]:
    """Place of a secret of ours → the credential that writes it."""
    writers = {
        file: name
        for name, credential in config.credentials.items()
        for file in files_of(credential, config.destinations).values()
    }
    return {own.place: writers[own.file] for own in of_config(config) if own.file in writers}

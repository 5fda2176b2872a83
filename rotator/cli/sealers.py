"""What `check` says about the sealing keys: those that do not work, and those that are kept where the secrets are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rotator.access.aws import AwsSettings
from rotator.access.vault import ServerSettings
from rotator.cli.finding import Finding
from rotator.domain.errors import RotatorError

if TYPE_CHECKING:
    from rotator.config import Config
    from rotator.store.sealing_keys import SealingKey, SealingKeys
    from rotator.store.store import SqlStore


def findings(config: Config, store: SqlStore | None) -> Iterator[Finding]:
    """Each key that is on record or configured; an active one that works was told with the database."""
    if store is not None:
        keys = store.sealing_keys("check")
        known = keys.listed()
        for key in known:
            if not key.active:
                yield _tried(keys, key)
        yield from _unrecorded(config, known)
    yield from _beside_secrets(config)


def _tried(keys: SealingKeys, key: SealingKey) -> Finding:
    about: dict[str, Any] = {"check": "sealing", "subject": key.name}
    try:
        keys.prove(key)
    except RotatorError as problem:
        about |= {"message": problem.message, "reason": problem.reason, "remedy": problem.remedy}
        return Finding(**about, outcome="failed")
    if key.needed:
        return Finding(**about, message="opens what is still sealed under it; `rotator seal rewrap` ends that")
    return Finding(**about, message=f"opens its proof, and nothing needs it: `rotator seal remove {key.name}`")


def _unrecorded(config: Config, known: list[SealingKey]) -> Iterator[Finding]:
    names = {key.name for key in known}
    for text in (key.text for key in config.seal.keys if key.text not in names):
        message = "it is configured, and not on record: nothing is sealed under it"
        remedy = f"`rotator seal add {text}`, or take it out of `seal`"
        yield Finding(
            check="sealing", subject=text, outcome="warning", message=message, reason="not_added", remedy=remedy
        )


def _beside_secrets(config: Config) -> Iterator[Finding]:
    """Who breaks into a system that keeps both has the secrets that it serves, and what opens all others."""
    for text in (key.text for key in config.seal.keys):
        shared = [name for name, to in config.destinations.items() if _same_system(config, text, to.settings)]
        if shared:
            message = f"it is kept by the same system as the destination {', '.join(sorted(shared))}"
            remedy = "have it kept by another one, or see to it that nobody has both: docs/security.md"
            yield Finding(
                check="sealing", subject=text, outcome="warning", message=message, reason="sealed_beside", remedy=remedy
            )


def _same_system(config: Config, text: str, destination: object) -> bool:
    vault, aws = config.seal.vault, config.seal.aws
    if text.startswith("vault-transit:") and isinstance(destination, ServerSettings):
        return vault is not None and destination.address == vault.address
    if text.startswith("aws-kms:") and isinstance(destination, AwsSettings):
        if destination.endpoint_url != aws.endpoint_url:
            return False
        return destination.account is None or aws.account is None or destination.account == aws.account
    return False

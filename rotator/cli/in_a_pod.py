"""`check --as cronjob`: what of a configuration cannot work in a pod that is gone a minute later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rotator.access.volumes import Volumes
from rotator.cli.finding import Finding
from rotator.config import Config, CredentialConfig

_SQLITE = "sqlite:///"
_OF_THE_HOST = {"pidfile", "systemd"}  # kinds of consumers: programs beside us, of which a pod sees none


def findings(config: Config, names: Sequence[str], volumes: Volumes) -> list[Finding]:
    """Each thing that cannot work there, with what does instead; where there is none, that."""
    found = [*_store(config, volumes), *_key(config)]
    for name in names:
        found += _credential(config, config.credentials[name], volumes)
    return found or [Finding(check="cronjob", subject="as a CronJob", message="nothing needs more than a pod has")]


def _store(config: Config, volumes: Volumes) -> Iterator[Finding]:
    file = _database_file(config)
    if file is not None and (why := volumes.why_lost(file)):
        yield _fails(
            f"the database {file} {why}: each run would begin with nothing, and issue every key anew",
            reason="no_volume",
            remedy="set store.url to PostgreSQL, or to a file on a persistent volume, and check in a pod that has it",
        )


def _key(config: Config) -> Iterator[Finding]:
    for key in config.seal.keys:
        if key.text.startswith("systemd-credential:"):
            remedy = "name a file that a Secret is mounted as, a service (aws-kms, vault-transit), or env:NAME"
            yield _fails(f"no systemd gives a pod the sealing key {key.text}", reason="no_host", remedy=remedy)


def _credential(config: Config, credential: CredentialConfig, volumes: Volumes) -> Iterator[Finding]:
    name = credential.name
    for target in credential.destinations:
        place = config.destinations[target.to]
        file = target.path or getattr(place.settings, "path", None) if place.type == "env-file" else None
        if file is not None and (why := volumes.why_lost(Path(file))):
            yield _fails(
                f"{file} {why}: nobody else can read it there",
                name,
                reason="no_volume",
                remedy="write to vault-kv or aws-secrets-manager, or have a daemon on the readers' own machine",
            )
        for hook in (target.reload, target.probe):
            if hook is not None and hook.adapter.__module__.endswith(".signal"):
                remedy = "use an `http` hook, or have a daemon on the readers' own machine"
                yield _fails(
                    f"the reload of {target.to} signals a process, and none runs here", name, "no_host", remedy
                )
    for consumer in credential.consumers.asked:
        kind = consumer.adapter.__module__.rpartition(".")[2]
        if kind in _OF_THE_HOST:
            remedy = "name its `deployment`, or let it report itself: `heartbeat`"
            yield _fails(f"a {kind} of another machine cannot be asked from a pod", name, "no_host", remedy)
    if credential.consumers.heartbeats and not _heard(config, volumes):
        remedy = "set store.url to PostgreSQL, or evidence.drop to a folder on a volume that they share"
        yield _fails("nobody outside the pod reaches its database to send a heartbeat", name, "no_host", remedy)


def _heard(config: Config, volumes: Volumes) -> bool:
    """Whether consumers can leave word: in a database that is a server, or at a drop that is shared."""
    return _database_file(config) is None or (config.drop is not None and volumes.why_lost(config.drop) is None)


def _database_file(config: Config) -> Path | None:
    url = config.store.resolve()
    return Path(unquote(url.removeprefix(_SQLITE).partition("?")[0])) if url.startswith(_SQLITE) else None


def _fails(message: str, credential: str | None = None, reason: str = "", remedy: str = "") -> Finding:
    about: dict[str, Any] = {"check": "cronjob", "subject": "as a CronJob", "credential": credential}
    return Finding(**about, outcome="failed", message=message, reason=reason, remedy=remedy)

"""The command `check`: everything that the configuration says is tried, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import click

from rotator import logs, wiring
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, harden
from rotator.config import Config, CredentialConfig, select
from rotator.domain.errors import RotatorError
from rotator.engine.work import Managed, Target
from rotator.ports.consumer import Consumer
from rotator.ports.provider import Key
from rotator.settings import format_duration
from rotator.store.store import SqlStore

_SIDE_BY_SIDE = 8


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check came to."""

    check: str  # database, schedule, provider, destination, hook, consumer, drop
    subject: str
    credential: str | None = None
    outcome: str = "ok"  # ok, warning, failed
    message: str = ""
    reason: str | None = None
    remedy: str | None = None


Check = Callable[[], list[Finding]]


@click.command(epilog=options.examples("rotator check", "rotator check openai-web", "rotator check --json"))
@options.names
@options.selector
@options.as_json
@options.quiet
@options.common
def check(names: Sequence[str], selector: str | None, as_json: bool, quiet: bool, config: str | None) -> int:
    """Try the database, the sealing key, and each provider and destination of NAME... (default: all).

    Asks providers for their account and keys, and consumers since when they run; reads destinations, and looks whether
    they could be written.
    Nothing is created, written or taken away. Exits 1 when a check failed.
    """
    loaded = configuration(config)
    chosen = [credential.name for credential in select(loaded, names, selector)]
    harden()
    if not as_json and not quiet:
        say.tell(f"environment {loaded.environment}; {loaded.path} is well formed")
    found = []
    for finding in _findings(loaded, chosen):
        found.append(finding)
        if not as_json:
            _tell(finding, quiet=quiet)
    failed = sum(1 for finding in found if finding.outcome == "failed")
    warned = sum(1 for finding in found if finding.outcome == "warning")
    if as_json:
        told = {"environment": loaded.environment, "ok": not failed, "checks": [asdict(finding) for finding in found]}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    elif not quiet:
        say.tell(f"{len(found)} checks: {failed} failed, {warned} warnings")
    return Status.TROUBLE if failed else Status.DONE


def _tell(finding: Finding, *, quiet: bool) -> None:
    subject = f"{finding.credential}: {finding.subject}" if finding.credential else finding.subject
    if finding.outcome == "ok":
        if not quiet:
            say.tell(f"ok       {subject}: {finding.message}")
        return
    say.complain(f"{finding.outcome:8} {subject}: {finding.message}", reason=finding.reason, remedy=finding.remedy)


def _findings(config: Config, names: Sequence[str]) -> Iterator[Finding]:
    """All findings, in the order of the file, each as soon as it and those before it are there."""
    store, found = _database(config)
    yield from found
    adapters = wiring.Adapters(config)
    try:
        managed = adapters.managed()
        checks = [check for name in names for check in _checks(config, managed[name], store)]
        with ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE) as pool:
            for findings in [pool.submit(check) for check in checks]:
                yield from findings.result()
        yield from _unused(config)
        yield from _drop(config)
    finally:
        adapters.close()
        if store is not None:
            store.close()


def _database(config: Config) -> tuple[SqlStore | None, list[Finding]]:
    """The database and the sealing key, which belong together."""
    from rotator.store.sealing import AesGcmSealer
    from rotator.store.store import open_store

    about = {"check": "database", "subject": "database and sealing key"}
    try:
        sealer = AesGcmSealer(config.seal.key.read())
        url = config.store.resolve()
        store = open_store(url, new_id=wiring.new_id, sealer=sealer, environment=config.environment)
    except RotatorError as problem:
        return None, [_failed(problem, **about)]
    return store, [Finding(**about, message=f"{store.database.where} opens under {config.seal.key.text}")]


def _checks(config: Config, managed: Managed, store: SqlStore | None) -> Iterator[Check]:
    yield lambda: _schedule(config, managed)
    yield lambda: _guarded(lambda: _provider(managed, store), managed.name, "provider", managed.provider_name)
    for target in managed.targets:
        yield lambda target=target: _guarded(  # type: ignore[misc]
            lambda: _destination(managed, target), managed.name, "destination", target.destination.address
        )
        yield lambda target=target: _hooks(managed, target)  # type: ignore[misc]
    yield lambda: _readers(config.credentials[managed.name], managed)
    for consumer in (reader.consumer for reader in managed.consumers):
        yield lambda consumer=consumer: _guarded(  # type: ignore[misc]
            lambda: _consumer(managed, consumer), managed.name, "consumer", consumer.name
        )


def _guarded(check: Check, name: str, kind: str, subject: str) -> list[Finding]:
    """One check's trouble never stops the others."""
    try:
        return check()
    except RotatorError as problem:
        return [_failed(problem, check=kind, subject=subject, credential=name)]
    except Exception as problem:  # noqa: BLE001 - a bug in one adapter
        logs.bug(name, problem)
        message = f"this is a bug: {type(problem).__name__}; -v shows where"
        return [Finding(check=kind, subject=subject, credential=name, outcome="failed", message=message, reason="bug")]


def _failed(problem: RotatorError, **about: Any) -> Finding:
    return Finding(**about, outcome="failed", message=problem.message, reason=problem.reason, remedy=problem.remedy)


def _schedule(config: Config, managed: Managed) -> list[Finding]:
    policy = config.credentials[managed.name].policy
    about = {"check": "schedule", "subject": "policy", "credential": managed.name}
    times = [
        f"every {format_duration(policy.rotate_every)}" if policy.rotate_every is not None else "",
        f"cron {policy.cron} in {policy.timezone}" if policy.cron is not None else "",
        f"no key older than {format_duration(policy.max_age)}" if policy.max_age is not None else "",
    ]
    if life := managed.provider.capabilities.life:
        times.append(f"the provider ends a key after {format_duration(life)}")
    if any(times):
        hours = [f"only {span}" for span in policy.windows] + [f"not {span}" for span in policy.blackouts]
        return [Finding(**about, message=", ".join(part for part in (*times, *hours) if part))]
    message = "it is rotated only by hand"
    remedy = "set policy.rotate_every, policy.cron or policy.max_age, if that is not meant"
    return [Finding(**about, outcome="warning", message=message, reason="by_hand", remedy=remedy)]


def _provider(managed: Managed, store: SqlStore | None) -> list[Finding]:
    about = {"check": "provider", "subject": managed.provider_name, "credential": managed.name}
    account = managed.provider.account()
    keys = managed.provider.keys()
    capabilities = managed.provider.capabilities
    message = f"account {account}"
    if capabilities.can_tell:
        message += f", {len(keys)} {'key' if len(keys) == 1 else 'keys'} listed"
    found = [Finding(**about, message=message)]
    known = store.known_keys(account) if store is not None else {}
    found += _slots(managed, keys, known)
    if capabilities.can_tell and not capabilities.tells_last_use and managed.policy.require_idle:
        message = "it tells no last use, so old keys are taken away by time alone"
        remedy = "choose a grace that is longer than the longest life of a consumer"
        found.append(Finding(**about, outcome="warning", message=message, reason="no_last_use", remedy=remedy))
    return found


def _slots(managed: Managed, keys: Sequence[Key], known: Mapping[str, str]) -> list[Finding]:
    """Where few keys may live at once, those in the way are better known before a rotation than during it."""
    living = managed.provider.capabilities.living
    strangers = [key.id for key in keys if key.id not in known]
    if living is None or len(keys) < living or not strangers:
        return []
    return [
        Finding(
            check="provider",
            subject=managed.provider_name,
            credential=managed.name,
            outcome="warning",
            message=f"all {living} slots are taken, and not by keys on record: {', '.join(strangers)}",
            reason="slot_full",
            remedy=f"`rotator adopt {managed.name} --key ID`, with --as previous for one that nobody needs",
        )
    ]


def _destination(managed: Managed, target: Target) -> list[Finding]:
    place = target.destination
    about = {"check": "destination", "subject": place.address, "credential": managed.name}
    reading = place.read()
    place.preflight(dict.fromkeys(target.templates))
    held = [field for field in target.templates if field in reading.fields]
    return [Finding(**about, message="can be written; " + ("it holds a value" if held else "it is empty"))]


def _hooks(managed: Managed, target: Target) -> list[Finding]:
    """What is run after a push there. None of it is run here."""
    found = []
    for kind, hook in (("reload", target.reload), ("probe", target.probe)):
        if hook is None:
            continue
        about = {"check": "hook", "subject": f"{kind} of {target.destination.address}", "credential": managed.name}
        trouble = hook.trouble()
        if trouble is None:
            found.append(Finding(**about, message=hook.name))
            continue
        message = f"{hook.name}: {trouble}"
        remedy = "correct it, or have it there before the next rotation, which would wait for it"
        found.append(Finding(**about, outcome="warning", message=message, reason=f"{kind}_failed", remedy=remedy))
    return found


def _readers(credential: CredentialConfig, managed: Managed) -> list[Finding]:
    """Readers that hold the old key until somebody tells them, and nobody does."""
    return [
        Finding(
            check="destination",
            subject=target.destination.address,
            credential=managed.name,
            outcome="warning",
            message=_UNTOLD[entry.readers.how],
            reason="readers_untold",
            remedy=_TELL[entry.readers.how],
        )
        for entry, target in zip(credential.destinations, managed.targets, strict=True)
        if entry.readers is not None and entry.readers.how in _UNTOLD and not _told(entry.readers.how, target, managed)
    ]


_UNTOLD = {
    "reload": "its readers read anew when they are told, and nothing tells them",
    "restart": "its readers read it when they start, and nothing restarts them or knows when they did",
}
_TELL = {
    "reload": "give the entry a `reload` hook, or say how often they look: `readers: poll 60s`",
    "restart": "give the entry a `reload` hook, or the credential `consumers`",
}


def _told(how: str, target: Target, managed: Managed) -> bool:
    """Whether something makes these readers read anew, or knows when they have."""
    return target.reload is not None or (how == "restart" and bool(managed.consumers or managed.heartbeats))


def _consumer(managed: Managed, consumer: Consumer) -> list[Finding]:
    running = [f"{p.name} runs since {p.started_at:%Y-%m-%d %H:%M} UTC" for p in consumer.processes()]
    message = ", ".join(running) or "nothing of it runs"
    return [Finding(check="consumer", subject=consumer.name, credential=managed.name, message=message)]


def _drop(config: Config) -> Iterator[Finding]:
    if config.drop is not None and not config.drop.is_dir():
        remedy = f"make it, and in it a folder for each credential, such as {config.drop / 'NAME'}"
        message = "it is not there, so nobody can leave word"
        subject = str(config.drop)
        yield Finding(
            check="drop", subject=subject, outcome="warning", message=message, reason="no_drop", remedy=remedy
        )


def _unused(config: Config) -> Iterator[Finding]:
    used = {credential.provider for credential in config.credentials.values()}
    for name in config.providers.keys() - used:
        message = "no credential uses it, so it was not tried"
        yield Finding(check="provider", subject=name, outcome="warning", message=message, reason="unused")

"""The preflights of `check`: everything that is tried, side by side. A new one is one more `yield` in `preflights`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rotator import logs, wiring
from rotator.access.volumes import Volumes
from rotator.cli import exposure, in_a_pod, permitted, routes, sealers
from rotator.cli.finding import Finding
from rotator.cli.reasons import advice
from rotator.config import Config, CredentialConfig
from rotator.domain.errors import RotatorError
from rotator.engine.work import Managed, Target
from rotator.ports.adapter import Sink
from rotator.ports.consumer import Consumer
from rotator.ports.ours import Examined
from rotator.ports.provider import Key
from rotator.settings import format_duration
from rotator.store.database import is_unverified
from rotator.store.store import SqlStore

_SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class Preflight:
    """One thing to try, in a thread beside the others.

    `run` changes nothing, raises what goes wrong, and finds nothing where there is nothing to say.
    """

    check: str
    subject: str
    run: Callable[[], Sequence[Finding]]
    credential: str | None = None

    def tried(self) -> Sequence[Finding]:
        """What it came to. One that goes wrong never stops the others."""
        about: dict[str, Any] = {"check": self.check, "subject": self.subject, "credential": self.credential}
        try:
            return self.run()
        except RotatorError as problem:
            about |= {"message": problem.message, "reason": problem.reason, "remedy": problem.remedy}
            return [Finding(**about, outcome="failed")]
        except Exception as problem:  # noqa: BLE001 - a bug in one adapter
            logs.bug(self.credential or self.subject, problem)
            message = f"this is a bug: {type(problem).__name__}; -v shows where"
            return [Finding(**about, outcome="failed", message=message, reason="bug")]


Opened = Callable[[], SqlStore | None]
"""The database as soon as it is open; None where it cannot be opened. Waits; any thread may ask."""

Told = Callable[[Sequence[Preflight], int], None]
"""Is given what is being tried or waits for its turn, and how many there are in all. Called again and again."""


def run(
    config: Config, names: Sequence[str], tell: Told = lambda _left, _count: None, *, cronjob: bool = False
) -> Iterator[Finding]:
    """Try everything for these credentials; all findings in the order of the list, each as soon as it can be told.

    `cronjob`: also whether it can work in a pod that is gone a minute later, by what this machine has mounted.
    """
    adapters = wiring.Adapters(config)
    pool = ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE)
    opening: Future[SqlStore] = pool.submit(_open, config)
    try:
        listed = [*preflights(config, names, adapters.managed(), opening), *_of_sinks(adapters.sinks)]
        if cronjob:
            listed.insert(0, Preflight("cronjob", "as a CronJob", lambda: in_a_pod.findings(config, names, Volumes())))
        trying = {pool.submit(preflight.tried): preflight for preflight in listed}
        left: set[Future[Sequence[Finding]]] = set(trying)
        tell(listed, len(listed))
        for told in trying:
            while not told.done():
                _, left = wait(left, return_when=FIRST_COMPLETED)
                tell([preflight for future, preflight in trying.items() if future in left], len(listed))
            yield from (_with_advice(finding) for finding in told.result())
    finally:
        pool.shutdown(cancel_futures=True)
        adapters.close()
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            opening.result().close()


def _with_advice(finding: Finding) -> Finding:
    """Nothing that failed is told without what to do about it."""
    if finding.outcome == "ok" or finding.remedy:
        return finding
    return replace(finding, remedy=advice(finding.reason) or "`rotator help` says more about the reason")


def preflights(
    config: Config, names: Sequence[str], managed: Mapping[str, Managed], opening: Future[SqlStore]
) -> Iterator[Preflight]:
    """The list, in the order in which it is told."""

    def store() -> SqlStore | None:
        return opening.result() if opening.exception() is None else None

    yield Preflight("database", "database and sealing key", lambda: _database(opening.result()))
    yield Preflight("sealing", "sealing keys", lambda: list(sealers.findings(config, store())))
    yield Preflight("audit", "checkpoints of the audit trail", lambda: _signing(config, store()))
    for name in names:
        yield from _of_credential(config.credentials[name], managed[name], store)
        exposed = partial(exposure.findings, config, config.credentials[name])
        yield Preflight("exposure", "its places", lambda exposed=exposed: list(exposed()), name)  # type: ignore[misc]
    for unused in _unused(config):
        yield Preflight("provider", unused.subject, lambda unused=unused: [unused])  # type: ignore[misc]
    channels = wiring.channels(config)
    for channel in channels:
        yield Preflight("route", f"route {channel.route.name}", lambda channel=channel: routes.of_route(channel))  # type: ignore[misc]
    providers = {name: config.credentials[name].provider for name in names}
    yield Preflight("route", "notify", lambda: list(routes.untold(channels, names, providers)))
    yield Preflight("drop", "evidence.drop", lambda: list(_drop(config)))


def _of_sinks(sinks: Mapping[str, Sink]) -> Iterator[Preflight]:
    """One for each receiver of the trail."""
    for name, sink in sinks.items():
        subject = f"sink {name}"

        def look(sink: Sink = sink, subject: str = subject) -> list[Finding]:
            sink.look()
            return [Finding(check="sink", subject=subject, message="it is there, and nothing was sent")]

        yield Preflight("sink", subject, look)


def _signing(config: Config, store: SqlStore | None) -> list[Finding]:
    """Whether the trail is signed."""
    about: dict[str, Any] = {"check": "audit", "subject": "checkpoints of the audit trail"}
    key = config.audit.signing_key
    if key is None:
        message = "nobody signs them, so a trail that was cut or written anew looks intact"
        remedy = "add `audit: {signing_key: file:audit.key}`, and `rotator init` makes it"
        return [Finding(**about, outcome="warning", message=message, reason="no_signing_key", remedy=remedy)]
    return [] if store is None else [Finding(**about, message=f"signed by {wiring.signer(key, store).verifier_key}")]


def _of_credential(config: CredentialConfig, managed: Managed, store: Opened) -> Iterator[Preflight]:
    def listed(check: str, subject: str, run: Callable[[], Sequence[Finding]]) -> Preflight:
        return Preflight(check, subject, run, managed.name)

    yield listed("schedule", "policy", lambda: _schedule(config, managed))
    yield listed("provider", managed.provider_name, lambda: _provider(managed, store))
    if managed.provider.capabilities.permissions is not None:
        yield listed("permissions", "its keys", lambda: list(permitted.to_keys(managed, store)))
    yield from _ours(managed)
    for target in managed.targets:
        place = target.destination.address
        yield listed("destination", place, lambda target=target: _destination(managed, target))  # type: ignore[misc]
        yield listed("hook", place, lambda target=target: _hooks(managed, target))  # type: ignore[misc]
    yield listed("destination", "readers", lambda: _readers(config, managed))
    for consumer in (reader.consumer for reader in managed.consumers):
        yield listed("consumer", consumer.name, lambda consumer=consumer: _consumer(managed, consumer))  # type: ignore[misc]


def _ours(managed: Managed) -> Iterator[Preflight]:
    """What we may do at the provider and at each destination, where that can be asked."""
    places = ((target.destination.address, target.destination) for target in managed.targets)
    for subject, at in ((managed.provider_name, managed.provider), *places):
        if isinstance(at, Examined):
            ask = partial(permitted.to_us, managed.name, subject, at)
            yield Preflight("permissions", subject, lambda ask=ask: list(ask()), managed.name)  # type: ignore[misc]


def _open(config: Config) -> SqlStore:
    from rotator.store.store import open_store

    keyring, url = wiring.keyring(config), config.store.resolve()
    return open_store(url, new_id=wiring.new_id, keyring=keyring, environment=config.environment)


def _database(store: SqlStore) -> list[Finding]:
    """The database and the sealing key, which belong together."""
    active = next(key for key in store.sealing_keys("check").listed() if key.active)
    about = {"check": "database", "subject": "database and sealing key"}
    found = [Finding(**about, message=f"{store.database.where} opens under {active.name}")]
    if is_unverified(store.database.engine.url):
        message = "`sslmode` in store.url has us believe whoever answers, and what is sent may be read on the way"
        remedy = "take `sslmode` out: certificates are checked then; `sslrootcert=FILE` names an authority"
        found.append(Finding(**about, outcome="warning", message=message, reason="database_untrusted", remedy=remedy))
    return found


def _schedule(config: CredentialConfig, managed: Managed) -> list[Finding]:
    policy = config.policy
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
        found = [Finding(**about, message=", ".join(part for part in (*times, *hours) if part))]
        return [*found, *permitted.switch(managed)]
    message = "it is rotated only by hand"
    remedy = "set policy.rotate_every, policy.cron or policy.max_age, if that is not meant"
    return [Finding(**about, outcome="warning", message=message, reason="by_hand", remedy=remedy)]


def _provider(managed: Managed, opened: Opened) -> list[Finding]:
    about = {"check": "provider", "subject": managed.provider_name, "credential": managed.name}
    account = managed.provider.account()
    keys = managed.provider.keys()
    capabilities = managed.provider.capabilities
    message = f"account {account}"
    if capabilities.can_tell:
        message += f", {len(keys)} {'key' if len(keys) == 1 else 'keys'} listed"
    found = [Finding(**about, message=message)]
    store = opened()
    known = store.known_keys(account) if store is not None else {}
    found += _slots(managed, keys, known)
    if capabilities.can_tell and not capabilities.tells_last_use and managed.policy.require_idle:
        message = "it tells no last use, so old keys are taken away by time alone"
        remedy = "choose a grace that is longer than the longest life of a consumer"
        found.append(Finding(**about, outcome="warning", message=message, reason="no_last_use", remedy=remedy))
    return found


def _slots(managed: Managed, keys: Sequence[Key], known: Mapping[str, str]) -> list[Finding]:
    """Where few keys may live at once, those in the way are better known before a rotation than during it."""
    living = managed.provider.capabilities.slots
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

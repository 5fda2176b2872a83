"""Configuration → adapters → engine: the one place that knows every class."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from rotator import __version__, logs, tracing
from rotator.access.files import replace
from rotator.access.formats import Origin
from rotator.config import Config, CredentialConfig, HookConfig, SealKey, ServiceKey, entry_of, with_removed
from rotator.config.own import rotated_by
from rotator.consumers.drop import FileDrop
from rotator.domain.errors import RotatorError
from rotator.domain.model import Credential
from rotator.domain.template import Template
from rotator.engine import moving, removed
from rotator.engine.card import card
from rotator.engine.engine import Engine
from rotator.engine.followers import Following
from rotator.engine.notify import Channel
from rotator.engine.report import Report
from rotator.engine.work import Managed, Reader, Surroundings, Target
from rotator.ports.adapter import AskedConsumer, ProviderAccount, Sink
from rotator.ports.destination import Surveys
from rotator.ports.doing import Doing, Lookout
from rotator.ports.hook import Hook
from rotator.ports.sealer import Sealer
from rotator.ports.store import Store, StoredEvent
from rotator.settings import SecretReference
from rotator.store.anchor import FileAnchor
from rotator.store.checkpoints import SignedCheckpoints
from rotator.store.database import Proof
from rotator.store.holder import this_process
from rotator.store.keyring import Keyring
from rotator.store.signing import Signer
from rotator.store.store import SqlStore, open_store

T = TypeVar("T")


class Seam:
    """Where tests stand between the engine and its ports: `wrap` gets each of them once, and gives what is used.

    The default gives them back as they are. Crash and fault tests count, delay and break calls here.
    """

    def wrap(self, port: T, kind: str) -> T:  # noqa: ARG002 - the default of a seam
        """`kind` is `store`, `provider`, `destination`, `hook`, `notifier` or `sink`."""
        return port


@dataclass(frozen=True, kw_only=True)
class Service:
    """Everything that a command needs, wired."""

    config: Config
    store: SqlStore
    managed: Mapping[str, Managed]  # those that the configuration names no more, and are being finished, included
    left_out: Mapping[str, str]  # those of them that cannot be, and why
    engine: Engine
    unlocked: bool  # whether the sealing key was asked for
    adapters: Adapters

    @property
    def names(self) -> list[str]:
        """What a pass works on."""
        return [*self.managed, *self.left_out]

    def enroll(self, actor: str) -> Sequence[Credential]:
        """Make the rows agree with the configuration: renamed credentials first. Needs no sealing key."""
        return enroll(self.config, self.store, self.managed, actor)

    def report(self) -> Report:
        """The read models, of this moment."""
        return Report(self.store, self.managed)

    def running(self) -> Engine:
        """The engine. Only where `unlock` was asked for: without it, only what needs no value can be done."""
        assert self.unlocked
        return self.engine

    def card(self, name: str, at: datetime | None = None) -> str:
        """The break-glass card of a credential."""
        known = self.store.credential(name)
        situation = self.store.load(known.id) if known is not None else None
        return card(self.managed[name], situation, self.config.environment, at)

    def keep_cards(self, names: Iterable[str]) -> None:
        """Write the cards of these that have changed to the folder that the configuration names, if it names one.

        What cannot be written is logged: it stops no work. May be repeated.
        """
        folder = self.config.cards
        if folder is None:
            return
        for name in names:
            file = folder / f"{name}.md"
            try:
                text = self.card(name)
                if not file.is_file() or file.read_text(encoding="utf-8") != text:
                    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    replace(file, [text])
            except (OSError, RotatorError) as problem:
                logs.log.warning("the card %s is not written: %s", file, problem)

    def close(self) -> None:
        """Close all connections."""
        self.adapters.close()
        self.store.close()


def surroundings(
    *,
    stop: threading.Event | None = None,
    observe: Callable[[StoredEvent], None] = lambda _: None,
    bug: Callable[[str, Exception], None] = lambda _name, _problem: None,
    doing: Lookout | None = None,
) -> Surroundings:
    """The real world: random ids, the host's clocks, this process as the holder of leases, logs and traces."""
    stopped = stop or threading.Event()
    return Surroundings(
        new_id=new_id,
        chance=random.SystemRandom().random,
        monotonic=time.monotonic,
        host_time=lambda: datetime.now(UTC),
        pause=stopped.wait,
        stopping=stopped.is_set,
        actor=actor(os.environ),
        holder=this_process("worker"),
        observe=observe,
        bug=bug,
        doing=doing or _both(logs.doing, tracing.lookout()),
    )


def _both(first: Lookout, second: Lookout) -> Lookout:
    @contextmanager
    def look(doing: Doing) -> Iterator[None]:
        with first(doing), second(doing):
            yield

    return look


def new_id() -> str:
    """A random UUID as text."""
    return str(uuid.uuid4())


def actor(environ: Mapping[str, str]) -> str:
    """Who acts: `$ROTATOR_ACTOR`, else `$SUDO_USER`, else user@host."""
    import getpass

    named = environ.get("ROTATOR_ACTOR")
    if named:
        return named
    try:
        user = environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # no such user in the password database
        user = str(os.getuid())
    return f"cli:{user}@{socket.gethostname()}"


def proved(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """How the actor is known: by the process's own user, by sudo, or only by what the environment says."""
    uid = os.getuid()
    if environ.get("ROTATOR_ACTOR"):
        return {"by": "environment", "uid": uid}
    if environ.get("SUDO_USER"):  # anybody can set it; sudo is who lets one be root
        return {"by": "sudo" if uid == 0 else "environment", "uid": uid}
    return {"by": "process", "uid": uid}


def open_service(
    config: Config, around: Surroundings, *, unlock: bool = True, seam: Seam | None = None, dry: bool = False
) -> Service:
    """Open the database and wire the engine. Opens no connection to a provider or destination.

    With `unlock` the sealing key is read and proved, and the configuration's credentials get their rows, unless
    `dry`: then nothing at all is written. Raises SetupError or StoreUnavailable.
    """
    seam = seam or Seam()
    store = open_store(
        config.store.resolve(),
        new_id=around.new_id,
        keyring=keyring(config) if unlock else None,
        environment=config.environment,
        observe=around.observe,
        dry=dry,
        proof=Proof(around.actor, proved(os.environ)),
        keeps=config.seal.keep == "version",
    )
    try:
        named = {*config.credentials, *(c.moved_from for c in config.credentials.values())}
        unfinished = {name: entry for name, entry in store.unfinished().items() if name not in named}
        whole, left_out = with_removed(config, unfinished)
        adapters = Adapters(whole, seam)
        managed = adapters.managed()
        if unlock and not dry:
            known = enroll(config, store, managed, around.actor)
            removed.tell(store, around, known, left_out)
        engine = Engine(
            store=seam.wrap(store, "store"),
            fingerprint=lambda value: store.fingerprint(value),  # noqa: PLW0108 - not looked up before it is needed
            managed=managed,
            limits=config.engine,
            around=around,
            anchor=FileAnchor(config.store.anchor) if config.store.anchor else None,
            checkpoints=checkpoints(config, store),
            left_out=left_out,
            following=adapters.following(),
            channels=channels(config, seam),
        )
        if unlock and not dry:
            engine.take_over()
        return Service(
            config=config,
            store=store,
            managed=managed,
            left_out=left_out,
            engine=engine,
            unlocked=unlock,
            adapters=adapters,
        )
    except BaseException:
        store.close()
        raise


def checkpoints(config: Config, store: SqlStore) -> SignedCheckpoints | None:
    """Who signs the trail; None where nobody does."""
    key = config.audit.signing_key
    if key is None:
        return None
    return SignedCheckpoints(
        store.database, lambda: signer(key, store), events=config.audit.events, every=config.audit.every
    )


def signer(key: SecretReference, store: SqlStore) -> Signer:
    """The key that signs this installation's trail, read now. Raises SetupError."""
    return Signer(key.read(), f"keyturn/{store.installation().id}")


def verifier_keys(config: Config, store: SqlStore) -> list[str]:
    """The public keys of those who sign, and have signed, this installation's trail. Raises SetupError."""
    key = config.audit.signing_key
    return [*([signer(key, store).verifier_key] if key is not None else []), *config.audit.former_keys]


def enroll(config: Config, store: Store, managed: Mapping[str, Managed], actor: str) -> Sequence[Credential]:
    """The rows of a configuration's credentials. Raises SetupError where one cannot have its new name."""
    named = config.credentials.values()
    for credential in named:
        if credential.moved_from is not None:
            moving.move(store, actor, credential.moved_from, managed[credential.name])
    entries = {credential.name: entry_of(credential) for credential in named}
    providers = {credential.name: credential.provider for credential in named}
    return store.enroll(providers, actor, entries, os.environ.get("ROTATOR_CONFIG_REV"))


@contextmanager
def opened(
    config: Config, around: Surroundings, *, unlock: bool = True, seam: Seam | None = None, dry: bool = False
) -> Iterator[Service]:
    """`open_service` for a block."""
    service = open_service(config, around, unlock=unlock, seam=seam, dry=dry)
    try:
        yield service
    finally:
        service.close()


def channels(config: Config, seam: Seam | None = None) -> list[Channel]:
    """Every route of notifications, with what takes its messages."""
    limit = config.engine.call_budget * 0.9  # it ends, or is ended, before its call is given up
    wrap = (seam or Seam()).wrap
    return [
        Channel(route=one.route, notifier=wrap(one.adapter(one.settings, limit), "notifier"))
        for one in config.routes.values()
    ]


def keyring(config: Config) -> Keyring:
    """The sealers of a configuration: keys that are kept in places are read now, services are not asked yet.

    Raises SetupError for a place that cannot be read, and for what is no key.
    """
    return Keyring([sealer(config, key) for key in config.seal.keys])


def sealer(config: Config, key: SealKey) -> Sealer:
    """One of them."""
    if not isinstance(key, ServiceKey):
        from rotator.sealers.local import LocalSealer

        return LocalSealer(key.read(), key.text)
    timeout = config.engine.call_budget
    if key.text.startswith("aws-kms:"):
        from rotator.sealers.aws_kms import KmsSealer

        return KmsSealer(key.text.removeprefix("aws-kms:"), config.seal.aws, timeout)
    from rotator.sealers.vault_transit import TransitSealer

    assert config.seal.vault is not None  # the configuration would not have been read
    return TransitSealer(key.text.removeprefix("vault-transit:"), config.seal.vault, timeout)


class Adapters:
    """Every provider's account and every destination's server of a configuration. Opens nothing by itself."""

    def __init__(self, config: Config, seam: Seam | None = None) -> None:
        timeout = config.engine.call_budget
        self._config = config
        self._seam = seam or Seam()
        self._own = set(rotated_by(config).values())
        # Said once: each credential's edition has them, and saying them takes longer than all else about it.
        self._engine = repr(config.engine)
        self._providers = {name: repr(entry) for name, entry in config.providers.items()}
        self._destinations = {name: repr(entry) for name, entry in config.destinations.items()}
        self._accounts = {name: p.adapter(p.settings, timeout) for name, p in config.providers.items()}
        self._servers = {name: d.adapter(name, d.settings, timeout) for name, d in config.destinations.items()}
        origin = Origin(config.environment, socket.gethostname())
        self.sinks: dict[str, Sink] = {name: s.adapter(s.settings, origin, timeout) for name, s in config.sinks.items()}
        self._consumers: dict[str, list[AskedConsumer]] = {
            name: [c.adapter(c.settings, timeout) for c in credential.consumers.asked]
            for name, credential in config.credentials.items()
        }

    def following(self) -> list[Following]:
        """What follows the trail."""
        required = self._config.require_sink
        return [
            Following(name=f"sink:{name}", receiver=self._seam.wrap(sink, "sink"), required=name in required)
            for name, sink in self.sinks.items()
        ]

    def named(self) -> Iterator[tuple[str, object]]:
        """Each account and server with its place in the file, such as `providers.openai`."""
        yield from ((f"providers.{name}", account) for name, account in self._accounts.items())
        yield from ((f"destinations.{name}", server) for name, server in self._servers.items())

    def account(self, provider: str) -> ProviderAccount:
        """The account of this entry of `providers:`."""
        found: ProviderAccount = self._accounts[provider]
        return found

    def surveyed(self) -> Iterator[tuple[Surveys, set[str | None]]]:
        """Every server that can look through what it holds, and the paths that the configuration names there."""
        for name, server in self._servers.items():
            if isinstance(server, Surveys):
                targets = (target for one in self._config.credentials.values() for target in one.destinations)
                yield server, {target.path for target in targets if target.to == name}

    def managed(self) -> dict[str, Managed]:
        """Every credential, bound to its provider and places."""
        return {name: self._managed(credential) for name, credential in self._config.credentials.items()}

    def _managed(self, credential: CredentialConfig) -> Managed:
        provider = self._accounts[credential.provider].bind(credential.options)
        targets = [
            Target(
                to=target.to,
                destination=self._seam.wrap(self._servers[target.to].at(target.path), "destination"),
                wave=target.wave,
                reload=self._hook(target.reload),
                probe=self._hook(target.probe),
                templates={f: Template(text) for f, text in {**target.templates, **target.companions}.items()},
                lag=target.lag,
            )
            for target in credential.destinations
        ]
        rate = self._config.providers[credential.provider].calls_per_second
        return Managed(
            name=credential.name,
            provider_name=credential.provider,
            calls_per_second=provider.capabilities.rate if rate is None else rate,
            provider=self._seam.wrap(provider, "provider"),
            policy=credential.policy,
            targets=targets,
            removed=credential.removed,
            owner=credential.owner,
            labels=credential.labels,
            runbook=credential.runbook,
            consumers=[
                Reader(consumer=consumer, reads=config.reads)
                for consumer, config in zip(self._consumers[credential.name], credential.consumers.asked, strict=True)
            ],
            heartbeats=credential.consumers.heartbeats,
            bounds=credential.bounds,
            on=credential.on,
            own=credential.name in self._own,
            drop=FileDrop(self._config.drop / credential.name) if self._config.drop is not None else None,
            edition=self._edition(credential),
        )

    def _edition(self, credential: CredentialConfig) -> str:
        """Changes with whatever may change what is to be done for it, the program included."""
        used = {target.to for target in credential.destinations}
        said = [
            __version__,
            entry_of(credential),
            self._engine,
            self._providers[credential.provider],
            *(self._destinations[name] for name in sorted(used)),
        ]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]

    def _hook(self, hook: HookConfig | None) -> Hook | None:
        if hook is None:
            return None
        limit = self._config.engine.call_budget * 0.9  # it ends, or is ended, before its call is given up
        built: Hook = hook.adapter(hook.settings, limit)
        return self._seam.wrap(built, "hook")

    def close(self) -> None:
        """Close the connections to all of them."""
        asked = (consumer for consumers in self._consumers.values() for consumer in consumers)
        for adapter in (*self._accounts.values(), *self._servers.values(), *self.sinks.values(), *asked):
            adapter.close()

"""What a combination is made of: who issues the keys, where they are put, and an installation that does it."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from rotator import wiring
from rotator.config import load
from rotator.domain.errors import StoreUnavailable
from rotator.domain.secret import Secret
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from tests.crash.points import Points
from tests.engine.place import Place, dotenv_value

SIBLING = {"SIBLING": "stays"}
"""A field that is not ours, in every place."""

SETTLES_WITHIN = 40.0
"""Seconds; far more than any recovery needs, so that a busy machine is not taken for a defect."""


class Issuer(Protocol):
    """A provider as the world outside sees it."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the provider's entry in the configuration."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """Of the credential's."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """What consumers read."""
        ...

    def accepts(self, values: Mapping[str, str]) -> bool:
        """Whether a consumer's request with these values works."""
        ...

    def live(self) -> set[str] | None:
        """The ids of all keys that work; None where nobody can tell."""
        ...

    def asked_twice(self) -> list[str]:
        """Labels for which more than one key was asked, as far as it can be known."""
        ...

    def by_hand(self) -> dict[str, str]:
        """A key that a person makes."""
        ...

    def clear(self) -> None:
        """Take all keys away, as a person would."""
        ...

    def drain(self) -> None:
        """Return once everything that dead clients have sent has taken effect."""
        ...


class OpenAIKeys:
    """Keys of one service account of the emulator."""

    fields = ("OPENAI_API_KEY",)

    def __init__(self, emulator: OpenAIEmulator, folder: Path, url: str | None = None) -> None:
        """`url` is another way to it, such as a gate's."""
        self.emulator = emulator
        admin = folder / f"admin-{emulator.project}-{id(emulator)}"
        admin.write_text(emulator.admin_key)
        self.settings = {"type": "openai", "admin_key": f"file:{admin.name}", "base_url": url or emulator.url}
        self.options = {"project": emulator.project, "service_account": emulator.service_account}

    def accepts(self, values: Mapping[str, str]) -> bool:
        return self.emulator.accepts(values["OPENAI_API_KEY"])

    def live(self) -> set[str] | None:
        made = self.emulator.keys()
        return {key.id for key in made if key.state in ("live", "settling")}

    def asked_twice(self) -> list[str]:
        labels = Counter(request.name for request in self.emulator.creates)
        return [label for label, times in labels.items() if times > 1]

    def by_hand(self) -> dict[str, str]:
        return {"OPENAI_API_KEY": self.emulator.make_key().secret}

    def clear(self) -> None:
        for key in self.live() or ():
            self.emulator.revoke(key)

    def drain(self) -> None:
        self.emulator.drain()


class IamKeys:
    """Access keys of one IAM user: two at the most."""

    fields = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

    def __init__(self, aws: Aws, folder: Path, url: str | None = None) -> None:
        self.aws = aws
        self.user = f"crash-{uuid4().hex[:10]}"
        self.iam = aws.client("iam")
        self.iam.create_user(UserName=self.user)
        self._consumers: dict[str, Any] = {}
        self.settings = {"type": "aws-iam", **_as_root(aws, folder, url), "account": aws.account}
        self.options = {"user": self.user}

    def accepts(self, values: Mapping[str, str]) -> bool:
        key = AwsKey(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"])
        if key.access_key_id not in self._consumers:
            self._consumers = {key.access_key_id: self.aws.client("sts", key)}
        sts = self._consumers[key.access_key_id]
        try:
            sts.get_caller_identity()
        except sts.exceptions.ClientError:
            return False
        return self._listed().get(key.access_key_id) == "Active"  # moto accepts inactive keys

    def live(self) -> set[str] | None:
        return set(self._listed())

    def asked_twice(self) -> list[str]:
        return []  # they carry no label

    def by_hand(self) -> dict[str, str]:
        made = self.iam.create_access_key(UserName=self.user)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}

    def clear(self) -> None:
        for key in self._listed():
            self.iam.delete_access_key(UserName=self.user, AccessKeyId=key)

    def drain(self) -> None:
        """Requests to moto take effect as they arrive."""

    def _listed(self) -> dict[str, str]:
        listed = self.iam.list_access_keys(UserName=self.user)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in listed}


class GeneratedValues:
    """Values that we make: the world knows of them only what stands at the places."""

    fields = ("KEY",)

    def __init__(self) -> None:
        self.settings = {"type": "generated", "prefix": "CANARY-"}
        self.options: dict[str, Any] = {}

    def accepts(self, values: Mapping[str, str]) -> bool:
        return values["KEY"].startswith("CANARY-")

    def live(self) -> set[str] | None:
        return None

    def asked_twice(self) -> list[str]:
        return []

    def by_hand(self) -> dict[str, str]:
        return {"KEY": f"CANARY-{uuid4().hex}"}

    def clear(self) -> None:
        """Nobody keeps them."""

    def drain(self) -> None:
        """Nobody is asked."""


SHADOW = ".rehearsal-"
"""What a rehearsal writes has this in its name."""


class Shelf(Protocol):
    """A destination as its consumers see it."""

    settings: dict[str, Any]

    def path(self, name: str) -> str:
        """Where the values of a credential stand, as the configuration names it."""
        ...

    def read(self, name: str) -> dict[str, str]:
        """What consumers read; empty before anything stood there."""
        ...

    def put(self, name: str, values: Mapping[str, str]) -> None:
        """Write as a person would: everything that stands there."""
        ...

    def beside(self) -> list[str]:
        """What stands there besides the credentials' own paths."""
        ...


class Vault:
    """A KV version 2 path for each credential."""

    def __init__(self, bao: OpenBao, folder: Path, url: str | None = None) -> None:
        self.bao = bao
        (folder / "token").write_text(bao.token)
        self.settings = {
            "type": "vault-kv",
            "address": url or bao.url,
            "auth": {"method": "token", "token": "file:token"},
        }
        self._below = f"crash/{uuid4().hex[:10]}"

    def path(self, name: str) -> str:
        return f"{self._below}/{name}"

    def read(self, name: str) -> dict[str, str]:
        try:
            found: dict[str, str] = self.bao.call("GET", f"secret/data/{self.path(name)}")["data"]["data"]
        except ValueError:
            return {}
        return found

    def beside(self) -> list[str]:
        try:
            names: list[str] = self.bao.call("LIST", f"secret/metadata/{self._below}")["data"]["keys"]
        except ValueError:  # nothing at all
            return []
        return [name for name in names if SHADOW in name]

    def put(self, name: str, values: Mapping[str, str]) -> None:
        self.bao.call("POST", f"secret/data/{self.path(name)}", {"data": dict(values)})


class Manager:
    """A secret of AWS Secrets Manager for each credential."""

    def __init__(self, aws: Aws, folder: Path, url: str | None = None) -> None:
        self.client = aws.client("secretsmanager")
        self.settings = {"type": "aws-secrets-manager", **_as_root(aws, folder, url)}
        self._below = f"crash/{uuid4().hex[:10]}"

    def path(self, name: str) -> str:
        return f"{self._below}/{name}"

    def read(self, name: str) -> dict[str, str]:
        try:
            answer = self.client.get_secret_value(SecretId=self.path(name), VersionStage="AWSCURRENT")
        except self.client.exceptions.ResourceNotFoundException:
            return {}
        found: dict[str, str] = json.loads(answer["SecretString"])
        return found

    def beside(self) -> list[str]:
        pages = self.client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [self._below]}])
        return [secret["Name"] for page in pages for secret in page["SecretList"] if SHADOW in secret["Name"]]

    def put(self, name: str, values: Mapping[str, str]) -> None:
        content = json.dumps(dict(values))
        try:
            self.client.create_secret(Name=self.path(name), SecretString=content)
        except self.client.exceptions.ResourceExistsException:
            self.client.put_secret_value(SecretId=self.path(name), SecretString=content)


class EnvFile:
    """An env file for each credential."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = {"type": "env-file"}

    def path(self, name: str) -> str:
        return str(self.folder / f"{name}.env")

    def read(self, name: str) -> dict[str, str]:
        file = Path(self.path(name))
        names = [line.partition("=")[0] for line in file.read_text().splitlines()]
        values = {key: dotenv_value(file, key) for key in names}
        return {key: value for key, value in values.items() if value}

    def beside(self) -> list[str]:
        return [path.name for path in self.folder.glob(f"*{SHADOW}*")]

    def put(self, name: str, values: Mapping[str, str]) -> None:
        Path(self.path(name)).write_text("".join(f"{key}={value}\n" for key, value in values.items()))


def _as_root(aws: Aws, folder: Path, url: str | None) -> dict[str, Any]:
    (folder / "id").write_text(aws.root.access_key_id)
    (folder / "secret").write_text(aws.root.secret_access_key)
    keys = {"access_key_id": "file:id", "secret_access_key": "file:secret"}
    return {**keys, "region": aws.region, "endpoint_url": url or aws.url}


@dataclass
class Tenant:
    """One credential as the world sees it: an issuer's keys on some shelves."""

    name: str
    issuer: Issuer
    shelves: Sequence[Shelf]

    def entry(self, provider: str, destinations: Sequence[str]) -> dict[str, Any]:
        """Its part of the configuration, where the issuer and the shelves are called so."""
        targets: list[dict[str, Any]] = [
            {"to": to, "path": shelf.path(self.name)} for to, shelf in zip(destinations, self.shelves, strict=True)
        ]
        if isinstance(self.issuer, GeneratedValues):
            targets = [{**target, "fields": {"KEY": "{secret}"}} for target in targets]
        return {"provider": provider, "options": self.issuer.options, "destinations": targets}

    def values(self, shelf: Shelf) -> dict[str, str] | None:
        """Its values at one place, or None where they are not all there yet."""
        found = shelf.read(self.name)
        ours = {name: found[name] for name in self.issuer.fields if name in found}
        return ours if len(ours) == len(self.issuer.fields) else None

    def look(self, shelf: Shelf) -> bool | None:
        """A consumer's look at one place: whether what is served there works; None where nothing is."""
        while True:
            values = self.values(shelf)
            if values is None or self.issuer.accepts(values):
                return None if values is None else True
            if self.values(shelf) == values:  # still served, and dead; else it was replaced while we looked
                return False

    def is_quiet(self, service: wiring.Service) -> bool:
        """Whether one key is current and nothing else is under way."""
        status = service.report().status([self.name])["credentials"][0]
        return status["status"] == "ok" and not status["previous"] and status["rotation"] is None

    def violations(self, service: wiring.Service) -> list[str]:
        """What is wrong with a credential that should be quiet."""
        status = service.report().status([self.name])["credentials"][0]
        if not self.is_quiet(service):
            return [f"it does not settle: {status}"]
        found = []
        current = status["current"]
        live = self.issuer.live()
        if live is not None and live != {current["key_id"]}:
            found.append(f"live {live}, current {current['key_id']}")
        for shelf in self.shelves:
            values = self.values(shelf)
            if values is None or not self.issuer.accepts(values):
                found.append(f"{shelf.settings['type']} serves a dead key, or none")
            elif service.store.fingerprint(Secret(values[self.issuer.fields[-1]])) != current["fingerprint"]:
                found.append(f"{shelf.settings['type']} does not serve the current key")
            if not shelf.read(self.name).items() >= SIBLING.items():
                found.append(f"{shelf.settings['type']} lost a field of somebody else's")
        return found + [f"{label} was asked for twice" for label in self.issuer.asked_twice()]


def configured(tenants: Sequence[Tenant], provider_of: Callable[[Tenant], str]) -> dict[str, dict[str, Any]]:
    """The sections of a configuration that has all of them, for `Place.write`; each place is called as its type is."""
    providers: dict[str, Any] = {}
    destinations: dict[str, Any] = {}
    credentials: dict[str, Any] = {}
    for tenant in tenants:
        provider = provider_of(tenant)
        providers[provider] = tenant.issuer.settings
        names = [shelf.settings["type"] for shelf in tenant.shelves]
        destinations |= dict(zip(names, (shelf.settings for shelf in tenant.shelves), strict=True))
        credentials[tenant.name] = tenant.entry(provider, names)
    return {"providers": providers, "destinations": destinations, "credentials": credentials}


@dataclass
class World:
    """One installation with one credential at a time: an issuer's keys on some shelves."""

    place: Place
    issuer: Issuer
    shelves: Sequence[Shelf]
    name: str = "key-0"
    points: Points = field(default_factory=Points)
    stop: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def fresh(self, *, by_hand: bool = False) -> None:
        """Go on with a credential that was never rotated; at its places stands nothing, or a key that a person made."""
        name = f"key-{next(self._numbers)}"
        for shelf in self.shelves:
            shelf.put(name, SIBLING)
        self.name = name  # from here on the consumer looks here
        self.issuer.clear()
        values = self.issuer.by_hand() if by_hand else {}
        for shelf in self.shelves if by_hand else ():
            shelf.put(name, {**SIBLING, **values})
        entries = {f"place-{number}": shelf.settings for number, shelf in enumerate(self.shelves)}
        self.place.write(
            providers={"issuer": self.issuer.settings},
            destinations=entries,
            credentials={name: self.tenant.entry("issuer", list(entries))},
        )

    @contextmanager
    def standing(self) -> Iterator[wiring.Service]:
        """The service in this process, as a daemon would have it; `points` stands between it and its ports."""
        around = replace(self.place.surroundings(), pause=self.stop.wait, stopping=self.stop.is_set)
        with wiring.opened(load(self.place.file), around, seam=self.points) as service:
            yield service

    @property
    def tenant(self) -> Tenant:
        """The credential at this time."""
        return Tenant(self.name, self.issuer, self.shelves)

    def looks(self) -> list[Callable[[], bool | None]]:
        """One look of a consumer for each place."""
        return [partial(self._look, shelf) for shelf in self.shelves]

    def _look(self, shelf: Shelf) -> bool | None:
        tenant = self.tenant
        works = tenant.look(shelf)
        return works if tenant.name == self.name else None  # another one took its place, and its keys are gone

    # what must be true once it is quiet

    def settle(self, service: wiring.Service) -> None:
        """Run passes until nothing is left to do."""
        end = time.monotonic() + SETTLES_WITHIN
        while time.monotonic() < end and not self.quiet(service):
            with contextlib.suppress(StoreUnavailable):  # it was our strike that met the end of a pass
                service.running().run([self.name], None, timedelta(seconds=3))

    def quiet(self, service: wiring.Service) -> bool:
        """Whether one key is current and nothing else is under way."""
        return self.tenant.is_quiet(service)

    def violations(self, service: wiring.Service) -> list[str]:
        """What is wrong with a world that should be quiet."""
        found = self.tenant.violations(service)
        if list(self.place.folder.glob(".*rotator*")):
            found.append("a file with a secret was left behind")
        found += [f"a rehearsal left {name}" for shelf in self.shelves for name in shelf.beside()]
        return found + [f"a bug: {bug!r}" for bug in self.place.bugs]

"""One installation and all that it does, well and badly, with everything that could show a secret kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hvac
import yaml

from rotator.access.dotenv import read as read_env
from rotator.config import load
from rotator.sealers.local import new_key
from rotator.store import schema
from rotator.store.signing import new_seed
from rotator.testbed.aws import Aws, AwsKey
from rotator.testbed.gate import Answer, Gate, Lose, Refuse
from rotator.testbed.openai_emulator import OpenAIEmulator
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres
from rotator.wiring import new_id
from tests.canary.listening import Listening
from tests.canary.places import leak
from tests.cli.house import ROOT
from tests.engine.place import QUICK
from tests.processes import run_command

SPY = """\
umask 077
for process in $$ $PPID; do
  for what in cmdline environ; do cat /proc/$process/$what > "$0.$what.$$.$process" 2> "$0.errors"; done
done
read -r secret; test "$1" = well && exit 0
echo "cannot use '$secret'" >&2; printf %s "$secret" | od -An -tx1 | tr -d ' \\n' >&2; echo >&2
printf %s "$secret" | base64 -w 0 >&2; exit 1
"""
"""A hook: notes what /proc shows of it and of us. It fails unless it goes well, and then says what it was given."""


APPRISE = f"CANARY-{new_id()}"
"""The password in an address of apprise."""


class Run:
    """The credentials `web` (OpenAI; in Vault and in a file) and `session` (generated; in Secrets Manager)."""

    def __init__(
        self, folder: Path, openai: OpenAIEmulator, openbao: OpenBao, aws: Aws, gate_to: Callable[[str], Gate],
        postgres: Postgres | None, leaks: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self.folder: Path = folder
        self.temporary: Path = folder.parent / "tmp"
        self.spy: Path = folder.parent / "spy"
        self.made: Path = folder.parent / "made"
        self.openai, self.openbao, self.postgres, self.leaks = openai, openbao, postgres, tuple(leaks)
        self.began = time.time() - 1
        self.env = folder / "web.env"
        self.gates = [gate_to(openai.url.removesuffix("/v1")), gate_to(openbao.url)]
        self.aws = aws
        client = hvac.Client(url=openbao.url, token=openbao.token)  # type: ignore[no-untyped-call]
        self.token: str = client.auth.token.create(policies=["root"])["auth"]["client_token"]
        client.adapter.close()
        self.key: AwsKey = aws.user(f"canary-{new_id()}", allow=("sts:*", "secretsmanager:*", "s3:*"))
        self.out: bytes = b""
        self.err: bytes = b""
        self.told_of_bugs: bytes = b""
        self.may_hold: tuple[str, ...] = (
            "web.env",
            "admin",
            "token",
            "aws",
            "rotator.key",
            "store-url",
            "sign",
            "apprise",
            "audit.key",
        )  # key-id is public
        self.place = f"canary/{new_id()}"
        self.generated: set[str] = set()
        for made in (self.folder, self.temporary, self.spy, self.made):
            made.mkdir()
        self.listening: Listening = Listening(self.spy, aws)
        self._write()

    def _write(self) -> None:
        (self.spy / "spy").write_text(SPY)
        url = "sqlite:///rotator.db" if self.postgres is None else self.postgres.fresh_url("canary")
        held = {"admin": self.openai.admin_key, "token": self.token, "aws": self.key.secret_access_key,
                "key-id": self.key.access_key_id, "store-url": url, "rotator.key": new_key(),
                "sign": f"CANARY-{new_id()}", "audit.key": new_seed(),
                "apprise": f"json://us:{APPRISE}@127.0.0.1:{self.listening.apprise.port}/"}  # fmt: skip
        for name, secret in held.items():
            (self.folder / name).write_text(secret)
            (self.folder / name).chmod(0o600)
        self.configure()
        schema.upgrade(load(self.folder / "rotator.yaml").store.resolve(), "test", new_id)

    def configure(self, *, hook: str = "well") -> None:
        """Write the configuration; the hook goes `well` or badly."""
        reload = {"command": ["/bin/sh", str(self.spy / "spy"), hook], "stdin": "{secret}"}
        vault = {"type": "vault-kv", "address": self.gates[1].url, "auth": {"method": "token", "token": "file:token"}}
        aws = {"endpoint_url": self.aws.url, "access_key_id": "file:key-id", "secret_access_key": "file:aws"}
        options = {"project": self.openai.project, "service_account": self.openai.service_account}
        content: Mapping[str, Any] = {
            "environment": "test",
            "store": {"url": "sqlite:///rotator.db" if self.postgres is None else "file:store-url"},
            "audit": {"signing_key": "file:audit.key", "sinks": self.listening.sinks()},
            "notify": {"routes": self.listening.routes()},
            "engine": {"lease": "20s", "call_budget": "8s", "retry": {"first": "100ms", "most": "400ms"}},
            "defaults": {"policy": {**QUICK, "max_creates_per_day": 100}},
            "providers": {
                "openai": {"admin_key": "file:admin", "base_url": f"{self.gates[0].url}/v1"},
                "local": {"type": "generated", "prefix": "CANARY/&+'%"},
            },
            "destinations": {
                "vault": vault,
                "sm": {"type": "aws-secrets-manager", "region": "us-east-1", **aws},
                "env": {"type": "env-file", "path": "web.env"},
            },
            "credentials": {
                "web": {
                    "provider": "openai",
                    "options": options,
                    "destinations": [{"to": "vault", "path": self.place}, {"to": "env", "reload": reload}],
                },
                "session": {"provider": "local", "destinations": [{"to": "sm", "path": self.place}]},
            },
        }
        (self.folder / "rotator.yaml").write_text(yaml.safe_dump(dict(content), sort_keys=False))

    # what is done

    def well(self) -> None:
        """What users do, as long as all goes well."""
        self.rotate("-vv")
        self.rotate("--now", "--all", "-vv", "--json")
        self.real("rotate", "--now", "web", "-vv")
        assert len(self.seen("cmdline")) > 2, f"nothing was written: {self.err.decode(errors='replace')[-3000:]}"
        for look in ("status", "status --json", "explain web", "plan", "policy web", "audit log", "check -vv", "diff"):
            self.command(*look.split())
        self.command("rollback", "web", "--yes", "--reason", "because")
        self.rotate("-vv")

    def tell(self) -> None:
        """What is made of it for others. The bundle takes a log with it: all that was on stderr so far."""
        (self.made / "log").write_bytes(self.err)
        for form in ("json", "ocsf", "ecs", "cef"):
            self.command("audit", "export", "--format", form, "--output", str(self.made / f"export.{form}"))
        self.command("audit", "checkpoint", "--now", "--output", str(self.made / "checkpoint"))
        self.command("metrics", "write", str(self.made / "keyturn.prom"))
        self.command("health", "--json", "--pass-within", "1s")
        self.rotate("-vv", "--log-format", "json")
        for form in ("json", "csv", "html"):
            period = ("--from", "2000-01-01", "--to", "2100-01-01", "--max-age", "90d")
            told = self.command("report", "rotation", *period, "--format", form)
            (self.made / f"report.{form}").write_bytes(told)
        self.command("doctor", "--output", str(self.made / "bundle.tar.gz"), "--log", str(self.made / "log"))

    def badly(self) -> None:
        """Servers that refuse, lose, or quote what they were sent; hooks that say it; wrong credentials of ours."""
        faults: list[Any] = [
            Refuse(),
            Lose(),
            Answer(500, body=self._quoting()),
            Answer(403, body=self._quoting()),
            Answer(302),
        ]
        for number, fault in enumerate(faults):
            gate = self.gates[number % 2]
            gate.on(lambda request: request.method != "GET", fault, times=None)
            self.rotate("--now", "web", "-vv", "--timeout", "0s")
            gate.clear()
            self.command("resume", "web")
        self.configure(hook="badly")
        for _ in range(10):
            self.rotate("--now", "web", "-vv", "--timeout", "5s")  # under load much of it is over before the hook runs
            self.command("explain", "web")
            if b"exit status 1: " in self.out + self.err:
                break
            self.command("resume", "web")
        self.configure()
        self.command("resume", "web")
        for name, wrong in (
            ("admin", "sk-admin-CANARY-wrong-1234"),
            ("aws", "wrong/CANARY+1234"),
            ("rotator.key", new_key()),
        ):
            right = (self.folder / name).read_text()
            (self.folder / name).write_text(wrong)
            self.generated.add(wrong)
            self.rotate("--now", "--all", "-vv", "--timeout", "0s")
            self.command("check", "-vv")
            (self.folder / name).write_text(right)
        self.told_of_bugs += self.command("rotate", "--now", "web", "-vv", "--timeout", "0s", leaks=("bug",))
        self.command("abandon", "web", "--yes", "--reason", "because")
        self.rotate("-vv")

    def _quoting(self) -> bytes:
        """An answer that repeats what it was sent, as debugging pages do."""
        held = [(self.folder / name).read_text() for name in ("admin", "token")]
        return b'{"error": {"message": "%s"}, "errors": ["%s"]}' % (" ".join(held).encode(), held[0].encode())

    def rotate(self, *options: str) -> None:
        self.command("rotate", *options)

    def command(self, *words: str, leaks: Iterable[str] = ()) -> bytes:
        """One command in a process of its own; gives what it printed to both streams."""
        streams = self.folder.parent / f"streams-{new_id()}"
        streams.mkdir()
        (streams / "in").touch()
        run_command(words, self.folder, self._environ(), streams, prepare=leak, given=(*self.leaks, *leaks))
        out, err = (streams / "out").read_bytes(), (streams / "err").read_bytes()
        self._keep(out, err)
        return out + err

    def real(self, *words: str) -> None:
        """The same as users start it."""
        ran = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "rotator", *words],
            cwd=self.folder, env=self._environ(), capture_output=True, check=False,
        )  # fmt: skip
        self._keep(ran.stdout, ran.stderr)

    def _environ(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary), "ROTATOR_ACTOR": "cli:ann@test"}

    def _keep(self, out: bytes, err: bytes) -> None:
        self.out += out
        self.err += err
        self.generated.update(self.living())

    # what is looked at

    def living(self) -> Iterator[str]:
        """The values at the destinations now."""
        if self.env.exists():
            yield from read_env(self.env.read_text()).values()
        client = self.aws.client("secretsmanager", self.key)
        try:
            found = client.get_secret_value(SecretId=self.place)["SecretString"]
        except client.exceptions.ResourceNotFoundException:
            return
        finally:
            client.close()
        yield from json.loads(found).values()

    def secrets(self) -> set[str]:
        """All that were ever in play."""
        names = ("admin", "token", "aws", "rotator.key", "sign", "audit.key")
        held = {APPRISE, *((self.folder / name).read_text() for name in names)}
        passwords = {urlsplit((self.folder / "store-url").read_text()).password or ""} - {""}
        return held | passwords | self.generated | {key.secret for key in self.openai.keys()}  # noqa: SIM118 - a method of the emulator

    def seen(self, what: str) -> list[tuple[str, bytes]]:
        """What hooks saw in /proc of themselves and of us."""
        return [(path.name, path.read_bytes()) for path in self.spy.glob(f"spy.{what}.*")]

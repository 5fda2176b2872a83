"""One rotation, IAM to Vault, against bare scripts in boto3 and hvac: what durability, proof and audit cost.

The short script makes the eight calls that one would write; the long one makes as many calls as ours does, of the same
kinds. Neither has a database. All clients but those of new keys are made once, on both sides. Stubs first, then moto's
server and OpenBao, whose own work counts there.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bench import fleet
from bench.fleet import Services
from bench.measure import Goal, Goals, Results, cost, parser, used
from bench.stubs import Stub
from rotator import wiring
from rotator.config import load
from rotator.domain.model import Cause
from rotator.engine.engine import Engine, Wish

WALL, CPU = "wall time of one rotation", "processor time of one rotation"
SERVERS = "processor time of the servers for one rotation"
SHARE, SIDE_BY_SIDE = "throughput with 32 workers", "rotations per second with 32 workers"
SHORT, LONG, IDEAL = "the script of eight calls", "the script of as many calls", "as if only services took time"
USERS = {"ours": "ours", SHORT: "short", LONG: "long"}

GOALS: Goals = {
    WALL: Goal(at_most=1.25),
    CPU: Goal(at_most=2),
    SERVERS: None,
    SHARE: Goal(at_least=0.95),
    SIDE_BY_SIDE: None,
}
TINY = ("--rounds", "1", "--latencies", "0", "--workers", "2", "--latency", "0.002")


@dataclass(frozen=True)
class Known:
    """What a script remembers of a user from one rotation to the next."""

    key: str | None = None
    version: int = 0


class Script:
    """Rotates a user's key with boto3 and hvac, and remembers in memory what is current."""

    def __init__(self, services: Services, more: Counter[str] | None = None) -> None:
        """`more`: calls that are made besides the eight, by kind."""
        import boto3
        import hvac
        import requests
        from requests.adapters import HTTPAdapter

        self._url = services.aws
        self._session = boto3.Session(region_name="us-east-1")
        self._iam = self._client("iam", services.key_id, services.secret)
        self._sts = self._client("sts", services.key_id, services.secret)
        pool = requests.Session()
        pool.mount("http://", HTTPAdapter(pool_maxsize=64))
        self._vault = hvac.Client(url=services.vault, token=services.token, session=pool)  # type: ignore[no-untyped-call]
        self._more = more or Counter()
        self._known: dict[str, Known] = {}

    def rotate(self, user: str) -> None:
        """Make a key, prove it, write it, read it back and prove that, then take the old one away."""
        known = self._known.get(user, Known())
        made = self._iam.create_access_key(UserName=user)["AccessKey"]
        with closing(self._client("sts", made["AccessKeyId"], made["SecretAccessKey"])) as new:
            new.get_caller_identity()
            if known.version:
                self._read(user)
            values = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
            kv = self._vault.secrets.kv.v2
            version = kv.create_or_update_secret(f"bench/{user}", secret=values, cas=known.version)["data"]["version"]
            assert self._read(user) == values
            new.get_caller_identity()
        if known.key is not None:
            self._iam.update_access_key(UserName=user, AccessKeyId=known.key, Status="Inactive")
            self._iam.delete_access_key(UserName=user, AccessKeyId=known.key)
            self._look(user, made["AccessKeyId"])
        self._known[user] = Known(made["AccessKeyId"], version)

    def _look(self, user: str, key: str) -> None:
        """What ours asks to be sure, and a script would not."""
        for _ in range(self._more["GetCallerIdentity"]):
            self._sts.get_caller_identity()
        for _ in range(self._more["ListAccessKeys"]):
            self._iam.list_access_keys(UserName=user)
        for _ in range(self._more["GetAccessKeyLastUsed"]):
            self._iam.get_access_key_last_used(AccessKeyId=key)
        for _ in range(self._more["read"] + self._more["mount"]):
            self._read(user)

    def _read(self, user: str) -> Any:
        kv = self._vault.secrets.kv.v2
        return kv.read_secret_version(f"bench/{user}", raise_on_deleted_version=True)["data"]["data"]

    def _client(self, service: str, key: str, secret: str) -> Any:
        from botocore.config import Config

        return self._session.client(
            service,
            endpoint_url=self._url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64),
        )


EIGHT = Counter(
    {"GetCallerIdentity": 2, "read": 2}
    | dict.fromkeys(("CreateAccessKey", "write", "UpdateAccessKey", "DeleteAccessKey"), 1)
)


def ours(engine: Engine, names: Sequence[str]) -> None:
    """Rotate all of these now, as `rotate --now` does."""
    found = engine.run(names, Wish(cause=Cause.MANUAL), timedelta(minutes=10))
    assert all(progress.completed for progress in found.values()), found


def counted() -> Counter[str]:
    """The calls of one rotation of ours; and that the scripts make as many as they should."""
    with Stub() as stub, tempfile.TemporaryDirectory() as folder:
        file = fleet.write(Path(folder), {"aws": ["ours"]}, {"aws": stub.url})
        with wiring.opened(load(file), wiring.surroundings()) as service:
            for _ in range(2):  # the first has nothing to take away
                stub.calls()
                ours(service.running(), ["ours"])
        calls, _ = stub.calls()
        services = Services.of(stub)
        for user, script, wanted in (
            ("short", Script(services), EIGHT),
            ("long", Script(services, calls - EIGHT), calls),
        ):
            script.rotate(user)
            stub.calls()
            script.rotate(user)
            made, _ = stub.calls()
            assert made.total() == wanted.total(), (made, wanted)
    return calls


def one_by_one(results: Results, case: str, services: Services, calls: Counter[str], rounds: int) -> None:
    """One rotation after the other, on each side in turn."""
    with tempfile.TemporaryDirectory() as folder:
        file = fleet.write(Path(folder), {"aws": ["ours"]}, {"aws": services})
        with wiring.opened(load(file), wiring.surroundings()) as service:
            engine = service.running()
            rotations = {"ours": partial(ours, engine, ["ours"])}
            for name, script in {SHORT: Script(services), LONG: Script(services, calls - EIGHT)}.items():
                rotations[name] = partial(script.rotate, USERS[name])
            for rotate in rotations.values():
                for _ in range(2):  # the first has nothing to take away, and opens connections
                    rotate()
            found = [{name: served(services, rotate) for name, rotate in rotations.items()} for _ in range(rounds)]
    for name, made in ((SHORT, EIGHT), (LONG, calls)):
        numbers = f"{calls.total()} calls, {made.total()} of the script"
        for what in (WALL, CPU, SERVERS) if services.servers else (WALL, CPU):
            pairs = [(each["ours"][what] * 1000, each[name][what] * 1000) for each in found]
            rotation, bare = map(statistics.median, zip(*pairs, strict=True))
            detail = f"{rotation:.1f} ms against {bare:.1f} ms; {numbers}"
            results.add(what, case, name, [mine / theirs for mine, theirs in pairs], detail)


def served(services: Services, rotate: Callable[[], object]) -> dict[str, float]:
    """What a rotation took, in seconds: of the clock, of this process and of the servers."""
    pids = [pid for server in services.servers for pid in server.processes()]
    before = used(pids)
    took = cost(rotate)
    return {WALL: took.wall, CPU: took.cpu, SERVERS: used(pids) - before}


def side_by_side(results: Results, latency: float, workers: int, rounds: int) -> None:
    """As many at once as there are workers, twice as many in all."""
    names = fleet.names(2 * workers)
    with Stub(latency) as stub, tempfile.TemporaryDirectory() as folder:
        file = fleet.write(Path(folder), {"aws": names}, {"aws": stub.url}, workers=workers)
        script = Script(Services.of(stub))
        with wiring.opened(load(file), wiring.surroundings()) as service, ThreadPoolExecutor(workers) as pool:
            engine = service.running()
            ours(engine, names)
            list(pool.map(script.rotate, [f"script-{name}" for name in names]))
            found, shares = [], []
            for _ in range(rounds):
                theirs = cost(lambda: list(pool.map(script.rotate, [f"script-{name}" for name in names])))
                stub.calls()
                mine = cost(lambda: ours(engine, names))
                calls = stub.calls()[0].total()
                shares.append(calls * latency / workers / mine.wall)
                found.append((mine, theirs))
    wall, used = (statistics.median(getattr(mine, of) for mine, _ in found) / len(names) for of in ("wall", "cpu"))
    bare = statistics.median(theirs.wall for _, theirs in found) / len(names)
    case = f"{latency * 1000:g} ms a call"
    detail = f"{1 / wall:.1f}/s of {calls / len(names):.0f} calls and {used * 1000:.0f} ms of processor time each"
    results.add(SHARE, case, IDEAL, shares, detail)
    detail = f"{1 / wall:.1f}/s against {1 / bare:.1f}/s"
    results.add(SIDE_BY_SIDE, case, SHORT, [theirs.wall / mine.wall for mine, theirs in found], detail)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a goal is missed."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--latencies", type=float, nargs="*", default=[0, 0.01, 0.1], help="of one rotation, in s")
    options.add_argument("--latency", type=float, default=0.1, help="of many side by side, in seconds")
    options.add_argument("--workers", type=int, default=32)
    asked = options.parse_args(arguments)
    results = Results("scripts", GOALS, asked.results)
    calls = counted()
    for latency in asked.latencies:
        with Stub(latency) as stub:
            one_by_one(results, f"{latency * 1000:g} ms a call", Services.of(stub), calls, asked.rounds)
    with fleet.real(list(USERS.values())) as services:
        one_by_one(results, "moto and OpenBao", services, calls, asked.rounds)
    side_by_side(results, asked.latency, asked.workers, min(asked.rounds, 3))
    return results.end()


if __name__ == "__main__":
    sys.exit(main())
